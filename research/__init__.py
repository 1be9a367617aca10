"""Algorithms with proven guarantees, as pure functions of pytrees. No files, no flags, no device queries."""

from research._version import __version__

__all__ = ["__version__"]
