"""Every test may use what plugin authors use."""

pytest_plugins = ["ptools.testing"]
