"""`--mesh` text to a mesh of devices: "rep:8", "rep:-1,data:1". The text is checked without jax."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from experiments.lib.errors import RunError, UsageError

if TYPE_CHECKING:
    from jax.sharding import AbstractMesh, Mesh

__all__ = ["abstract", "build", "check_replicates", "over_replicates", "parse", "parse_slices"]

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


def parse_slices(text: str, sizes: dict[str, int]) -> dict[str, int]:
    """`--dcn` text to how many slices each axis of the mesh spans: "rep:4" for replicates across four of them.

    Raises:
      UsageError: an axis that the mesh does not have, or a number that is open or does not divide the axis.
    """
    slices = {name: size for name, size in parse(text).items() if size != 1} if text else {}
    for name, size in slices.items():
        if size == -1 or name not in sizes:
            raise UsageError(f"--dcn gives numbers of slices to axes of --mesh={_text(sizes)}, got {text!r}.")
        if sizes[name] != -1 and sizes[name] % size:
            raise UsageError(f"--dcn={text} must divide --mesh={_text(sizes)}: {sizes[name]} is no multiple of {size}.")
    return slices


def build(sizes: dict[str, int], slices: dict[str, int] | None = None) -> Mesh:
    """A mesh with automatic axes over the first devices of the run, all of them where it has several processes.

    Args:
      sizes: as `parse` gives them.
      slices: as `parse_slices` gives them. The product is the number of slices that the devices are in; on devices that
        know of no slices, such as CPUs, each process counts as one.

    Raises:
      RunError: the devices at hand are too few, or the open size comes out as zero; too many for a run of several
        processes, or in another number of slices; names what there is.
    """
    import jax
    from jax.sharding import AxisType

    devices = jax.devices()
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
    if jax.process_count() > 1 and wanted < len(devices):
        raise RunError(
            f"--mesh={_text(sizes)} takes {wanted} devices, and {jax.process_count()} processes have {len(devices)}: "
            "a run of several processes takes them all."
        )
    if slices:
        return _across_slices(sizes, slices, devices)
    shape, names = tuple(sizes.values()), tuple(sizes)
    return jax.make_mesh(shape, names, axis_types=(AxisType.Auto,) * len(names), devices=devices[:wanted])


def _across_slices(sizes: dict[str, int], slices: dict[str, int], devices) -> Mesh:
    from jax.experimental import mesh_utils
    from jax.sharding import AxisType, Mesh

    by_process = devices[0].platform == "cpu"
    found = len({device.process_index if by_process else getattr(device, "slice_index", 0) for device in devices})
    if math.prod(slices.values()) != found:
        raise RunError(f"--dcn={_text(slices)} is for {math.prod(slices.values())} slices, and there is {found}.")
    if odd := [name for name, size in slices.items() if sizes[name] % size]:
        raise RunError(f"--dcn={_text(slices)} must divide --mesh={_text(sizes)} ({odd[0]}).")
    outer = [slices.get(name, 1) for name in sizes]
    inner = [size // across for size, across in zip(sizes.values(), outer, strict=True)]
    grid = mesh_utils.create_hybrid_device_mesh(inner, outer, devices, process_is_granule=by_process)
    return Mesh(grid, tuple(sizes), axis_types=(AxisType.Auto,) * len(sizes))


def check_replicates(sizes: Mapping[str, int], replicates: int) -> None:
    """Raises `UsageError` where `rep`, unless it is open, does not divide the number of replicates; names one near it
    that it would."""
    rep = sizes["rep"]
    if rep != -1 and replicates % rep:
        near = max(1, round(replicates / rep)) * rep
        raise UsageError(
            f"--mesh axis rep:{rep} must divide run.replicates, got {replicates}; "
            f"--config.run.replicates={near} would do."
        )


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
