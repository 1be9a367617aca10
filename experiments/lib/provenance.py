"""Which code, which versions, which devices: what a result needs to be believed later."""

import functools
import hashlib
import importlib.metadata
import os
import platform
import subprocess
from typing import NamedTuple

from experiments.lib.config import CHECKOUT

__all__ = ["Revision", "devices", "revision", "versions"]

_CODE = ("research", "pallas_kernels", "experiments", "configs", "setup.cfg", "pyproject.toml")
_PACKAGES = ("equipoise", "jax", "jaxlib", "numpy", "scipy", "equinox", "optax", "flax", "orbax-checkpoint", "libtpu")


class Revision(NamedTuple):
    """Attributes:
    name: the commit, with "+dirty.<hash>" where the code differs from it; "unknown" without git.
    dirty: whether it differs.
    diff: how, as text; new files in full.
    """

    name: str
    dirty: bool
    diff: str


def revision() -> Revision:
    """The revision of the running code, as it was when this process first asked.

    `EQUIPOISE_REVISION` names it where git cannot, as in a container image.
    """
    if given := os.environ.get("EQUIPOISE_REVISION"):
        return Revision(given, False, "")
    return _checked_out()


@functools.cache
def _checked_out() -> Revision:
    commit = _git("rev-parse", "HEAD")
    if commit is None:
        return Revision("unknown", False, "")
    diff = _git("diff", "HEAD", "--", *_CODE) or ""
    for name in (_git("ls-files", "--others", "--exclude-standard", "--", *_CODE) or "").splitlines():
        diff += f"new file {name}\n{(CHECKOUT / name).read_bytes().decode(errors='replace')}\n"
    commit = commit.strip()
    if not diff:
        return Revision(commit, False, "")
    return Revision(f"{commit}+dirty.{hashlib.sha256(diff.encode()).hexdigest()[:8]}", True, diff)


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], cwd=CHECKOUT, capture_output=True, check=False, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode(errors="replace") if done.returncode == 0 else None


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that can change a number; those not installed are left out."""
    return dict(_installed())


@functools.cache
def _installed() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def devices() -> dict[str, object]:
    """Platform, kind and number of the devices that jax sees, and the machine they are in. Starts jax's backend."""
    import jax

    first = jax.devices()[0]
    return {
        "platform": first.platform,
        "kind": first.device_kind,
        "count": jax.device_count(),
        "processes": jax.process_count(),
        "host": platform.node(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
    }
