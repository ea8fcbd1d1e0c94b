"""Every test may use what plugin authors use."""

import os

# As `ptools train` does for itself: torch, imported by the tests, must not spin on a busy machine.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

pytest_plugins = ["ptools.testing"]
