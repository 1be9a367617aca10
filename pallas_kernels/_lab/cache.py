"""Finished reports on disk, by the hash of what was compiled, for what, and with which compiler."""

import hashlib
import os
import pathlib
import tempfile
from collections.abc import Callable
from typing import TypeVar

import jax

__all__ = ["folder", "key", "load", "store"]

Report = TypeVar("Report")

#: Raise it when a report of the same program would come out different.
_VERSION = 2


def folder() -> pathlib.Path:
    """`$XDG_CACHE_HOME/equipoise/lab`, by default under `~/.cache`."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    home = pathlib.Path(base) if os.path.isabs(base) else pathlib.Path.home() / ".cache"
    return home / "equipoise" / "lab"


def key(*parts: str) -> str:
    text = "\0".join((str(_VERSION), jax.__version__, *parts))
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def load(name: str, read: Callable[[str], Report]) -> Report | None:
    """None where there is none, or one that `read` refuses, as after a change of the report's classes."""
    try:
        return read((folder() / f"{name}.json").read_text())
    except (OSError, ValueError, KeyError, TypeError):
        return None


def store(name: str, text: str) -> None:
    """Written whole or not at all; a cache that cannot be written costs time and nothing else."""
    try:
        folder().mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=folder(), suffix=".part", delete=False) as file:
            file.write(text)
        os.replace(file.name, folder() / f"{name}.json")
    except OSError:
        return
