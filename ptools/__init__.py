"""ptools: one command, many small tools for people who work with PyTorch."""

__version__ = "0.1.0"
