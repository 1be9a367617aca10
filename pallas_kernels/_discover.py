"""The file system is the registry: a kernel is a folder here whose name has no leading underscore."""

import importlib
import importlib.util
import pkgutil
from types import ModuleType

import pallas_kernels

__all__ = ["kernels", "lacking", "load"]

#: Modules of a kernel, and the names that each must have; `{name}` is the kernel's.
_PARTS = {
    "api": ("{name}", "explain"),
    "reference": ("{name}",),
    "kernel_tpu": ("{name}", "unsupported"),
    "cases": ("cases", "examples"),
    "bench": ("cases",),
}


def kernels() -> list[str]:
    """Names of all kernels, sorted."""
    return sorted(m.name for m in pkgutil.iter_modules(pallas_kernels.__path__) if m.ispkg and m.name[0] != "_")


def load(kernel: str, part: str, package: str = "pallas_kernels") -> ModuleType:
    return importlib.import_module(f"{package}.{kernel}.{part}")


def lacking(kernel: str, package: str = "pallas_kernels") -> list[str]:
    """What keeps a kernel from being tested, costed and guarded: one line for each part that is not there."""
    found = []
    for part, names in _PARTS.items():
        if importlib.util.find_spec(f"{package}.{kernel}.{part}") is None:
            found.append(f"{kernel}/{part}.py is missing")
            continue
        module = load(kernel, part, package)
        wanted = [name.format(name=kernel) for name in names]
        found += [f"{kernel}/{part}.py lacks {name}" for name in wanted if not callable(getattr(module, name, None))]
    if found:
        return found
    cases = load(kernel, "cases", package)
    found += [f"{kernel}/cases.py: {name}() is empty" for name in ("cases", "examples") if not getattr(cases, name)()]
    if cases.cases() and cases.cases()[0].slow:
        found.append(f"{kernel}/cases.py: the first case is slow, so that no default test would hold it to its budget")
    declared = any(example.differentiable for example in cases.examples())
    if not declared and not getattr(cases, "NOT_DIFFERENTIABLE", ""):
        found.append(f"{kernel}/cases.py: no example is differentiable and NOT_DIFFERENTIABLE gives no reason")
    return found
