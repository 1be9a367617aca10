"""The version, read at build time: imports nothing."""

__version__ = "0.1.0"
