"""The file system is the registry: an algorithm is a module of a family that has the eight names and an `example`."""

import importlib
import pkgutil
from collections.abc import Iterator
from types import ModuleType

from research.core.types import ALGORITHM_NAMES

__all__ = ["algorithms", "families", "operators"]


def families() -> list[str]:
    """Names of the families present under `research`, sorted."""
    import research

    return sorted(m.name for m in pkgutil.iter_modules(research.__path__) if m.ispkg and m.name != "core")


def _modules() -> Iterator[ModuleType]:
    for family in families():
        package = importlib.import_module(f"research.{family}")
        for entry in sorted(pkgutil.iter_modules(package.__path__), key=lambda m: m.name):
            module = importlib.import_module(f"research.{family}.{entry.name}")
            if hasattr(module, "example"):
                yield module


def algorithms() -> list[ModuleType]:
    """Modules with an `example` and the eight names; raises TypeError where an example has only some of them."""
    found = [module for module in _modules() if hasattr(module, "step") or hasattr(module, "run")]
    for module in found:
        missing = [name for name in ALGORITHM_NAMES if not hasattr(module, name)]
        if missing:
            raise TypeError(f"{module.__name__} has an example and lacks {', '.join(missing)}.")
    return found


def operators() -> list[ModuleType]:
    """Modules with an `example` that are plain operators: no `step`, no `run`."""
    return [module for module in _modules() if not hasattr(module, "step") and not hasattr(module, "run")]
