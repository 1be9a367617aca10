"""`--mesh` text to a mesh of devices: "rep:8", "rep:-1,data:1". The text is checked without jax."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from experiments.lib.errors import RunError, UsageError

if TYPE_CHECKING:
    from jax.sharding import AbstractMesh, Mesh

__all__ = ["abstract", "build", "over_replicates", "parse"]

_AXES = ("rep", "data", "model")


def parse(text: str) -> dict[str, int]:
    """Axis sizes in the order given, `rep` always among them; -1 stands for the rest of the devices, at most once.

    Raises:
      UsageError: another axis name, a repeated axis, or a size that is neither positive nor -1.
    """
    sizes: dict[str, int] = {}
    for part in filter(None, text.replace(" ", "").split(",")):
        name, _, size = part.partition(":")
        if name not in _AXES:
            raise UsageError(f"--mesh axes are {', '.join(_AXES)}, got {name!r} in {text!r}.")
        if name in sizes:
            raise UsageError(f"--mesh names the axis {name} twice in {text!r}.")
        if not size.removeprefix("-").isdecimal() or (int(size) < 1 and int(size) != -1):
            raise UsageError(f"--mesh sizes are positive, or -1 for the rest, got {part!r} in {text!r}.")
        sizes[name] = int(size)
    if list(sizes.values()).count(-1) > 1:
        raise UsageError(f"--mesh can leave one size open with -1, got {text!r}.")
    return sizes if "rep" in sizes else {"rep": 1, **sizes}


def build(sizes: dict[str, int]) -> Mesh:
    """A mesh with automatic axes over the first devices of this process.

    Raises:
      RunError: the devices at hand are too few, or the open size comes out as zero; names what there is.
    """
    import jax
    from jax.sharding import AxisType

    devices = jax.local_devices()
    fixed = math.prod(size for size in sizes.values() if size != -1)
    sizes = _filled(sizes, len(devices))
    wanted = math.prod(sizes.values())
    if not 1 <= wanted <= len(devices):
        kind = devices[0].platform
        remedy = f"; rehearse with --cpu_devices={fixed}" if kind == "cpu" else ""
        raise RunError(
            f"--mesh={_text(sizes)} needs {max(wanted, fixed)} devices, and there is {len(devices)} {kind} "
            f"device(s){remedy}."
        )
    shape, names = tuple(sizes.values()), tuple(sizes)
    return jax.make_mesh(shape, names, axis_types=(AxisType.Auto,) * len(names), devices=devices[:wanted])


def abstract(sizes: dict[str, int], num_devices: int, owner: str) -> AbstractMesh:
    """A mesh with automatic axes over devices that are not there, all of them.

    Args:
      sizes: as `parse` gives them.
      num_devices: how many there are.
      owner: whose they are, for the message: "v5e:16x16".

    Raises:
      UsageError: the mesh has another number of devices.
    """
    from jax.sharding import AbstractMesh, AxisType

    filled = _filled(sizes, num_devices)
    if math.prod(filled.values()) != num_devices:
        raise UsageError(f"--mesh={_text(sizes)} does not divide the {num_devices} devices of {owner} without rest.")
    return AbstractMesh(tuple(filled.values()), tuple(filled), axis_types=(AxisType.Auto,) * len(filled))


def _filled(sizes: dict[str, int], num_devices: int) -> dict[str, int]:
    """The open size becomes what the others leave; 0 if they leave nothing."""
    fixed = math.prod(size for size in sizes.values() if size != -1)
    return {name: num_devices // fixed if size == -1 else size for name, size in sizes.items()}


def _text(sizes: dict[str, int]) -> str:
    return ",".join(f"{name}:{size}" for name, size in sizes.items())


def over_replicates(mesh: Mesh, function: Callable, *, shared: int = 0) -> Callable:
    """`function` of one replicate, jitted over the leading axis of its arguments and split over `rep`.

    Args:
      mesh: with an axis `rep`.
      function: for one replicate; any pytrees in and out.
      shared: how many leading arguments all replicates share.

    Raises:
      RunError: when called with a number of replicates that `rep` does not divide.
    """
    import jax

    from research.core import sharding

    lanes = sharding.replicates(function, mesh, shared=shared)

    @jax.jit
    def checked(*args):
        for leaf in jax.tree.leaves(args[shared:]):
            if leaf.shape[0] % mesh.shape["rep"]:
                raise RunError(
                    f"--mesh axis rep:{mesh.shape['rep']} must divide the number of replicates, got {leaf.shape[0]}."
                )
        return lanes(*args)

    return checked
