"""A function and its abstract arguments as bytes that another process can compile, on a machine without the device."""

import hashlib
import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import NamedTuple

import jax
from jax import export as jax_export
from jax.sharding import AbstractDevice, AbstractMesh, AxisType, NamedSharding, PartitionSpec

from pallas_kernels._lab import gpu_targets
from pallas_kernels._lab.counts import Counts, count, sharded_over
from pallas_kernels._lab.report import LabError

__all__ = ["Program", "export"]


#: Pallas kernels for GPUs, which jax.export refuses unless told that no stability over time is asked for.
_GPU_CALLS = ("__gpu$xla.gpu.triton", "mosaic_gpu_v2")


class Program(NamedTuple):
    """One traced function.

    Attributes:
      name: of the function.
      blob: serialized `jax.export` of it, all arguments and results in flat lists.
      axes: (name, size) of the mesh it is sharded over; () for one device.
      donated: positions of the flat arguments whose memory it may reuse.
      counts: arithmetic of one run on one device.
      digest: of everything that the compiler sees.
      seconds: for tracing and lowering.
    """

    name: str
    blob: bytes
    axes: tuple[tuple[str, int], ...]
    donated: tuple[int, ...]
    counts: Counts
    digest: str
    seconds: float


def export(fn: Callable, args: tuple, *, platform: str = "tpu", mesh=None) -> Program:
    """Traces and lowers `fn(*args)`; nothing is run and no device is needed.

    Args:
      fn: jittable; may be a `jax.jit` with donated arguments.
      args: pytrees of arrays or `jax.ShapeDtypeStruct`.
      platform: "tpu" or "cuda".
      mesh: the `jax.sharding.AbstractMesh` (or mesh) that `fn` and the arguments' shardings speak of; None for one
        device. Arguments without a sharding are on every device.

    Raises:
      LabError: a size is not an integer, the function cannot be traced, or has no form for the platform.
    """
    began = time.perf_counter()
    name = getattr(fn, "__name__", type(fn).__name__)
    _refuse_dynamic(args)
    leaves, tree = jax.tree.flatten(args)
    donated = _donated(fn, args)
    if mesh is not None:
        leaves = [_placed(leaf, mesh) for leaf in leaves]

    def flat(*leaves):
        return jax.tree.leaves(fn(*jax.tree.unflatten(tree, leaves)))

    flat.__name__ = name
    axes = tuple(mesh.shape.items()) if mesh is not None else ()
    devices = math.prod(size for _, size in axes)
    try:
        traced = jax.jit(flat).trace(*leaves)
    except Exception as error:  # the caller's function may raise anything
        raise LabError(f"fn {name} cannot be traced: {_first_line(error)}") from error
    checks = [jax_export.DisabledSafetyCheck.custom_call(name) for name in _GPU_CALLS]
    try:
        with _without_locations(), _kind_of_device(platform, mesh):
            exported = jax_export.export(jax.jit(flat), platforms=[platform], disabled_checks=checks)(*leaves)
    except Exception as error:
        raise LabError(f"fn {name} cannot be lowered for {platform}: {_first_line(error)}") from error
    over = max(exported.nr_devices, sharded_over(traced.jaxpr.jaxpr))
    if over != devices:
        raise LabError(f"mesh must be the one that fn {name} is sharded over, {over} devices, got {devices}.")
    try:
        blob = bytes(exported.serialize())
    except ModuleNotFoundError as error:
        raise LabError(f"the laboratory needs the package {error.name}: pip install 'equipoise[tpu]'.") from error
    key = hashlib.sha256(repr((axes, donated)).encode() + exported.mlir_module().encode())
    counts = count(traced.jaxpr.jaxpr, platform, devices)
    return Program(name, blob, axes, donated, counts, key.hexdigest()[:20], time.perf_counter() - began)


def _placed(leaf, mesh):
    """The argument, on every device of the mesh if it says nothing else."""
    where = getattr(leaf, "sharding", None)
    if not hasattr(leaf, "shape") or isinstance(where, NamedSharding):
        return leaf
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=NamedSharding(mesh, PartitionSpec()))


_LOWERING = threading.Lock()


@contextmanager
def _without_locations() -> Iterator[None]:
    """Pallas kernels carry the source lines that led to them; where it is called from makes no other program."""
    name = "jax_traceback_in_locations_limit"
    with _LOWERING:  # the setting is the whole process's
        before = getattr(jax.config, name)
        jax.config.update(name, 0)
        try:
            yield
        finally:
            jax.config.update(name, before)


def _kind_of_device(platform: str, mesh):
    """Pallas asks for the kind of GPU while it lowers; for one device there is no mesh that could tell."""
    if platform != "cuda" or mesh is not None:
        return nullcontext()
    kind = AbstractDevice(device_kind=gpu_targets.TARGETS["h100"].kind, num_cores=None, platform="gpu")
    one = AbstractMesh((1,), ("device",), axis_types=(AxisType.Auto,), abstract_device=kind)
    return jax.sharding.use_abstract_mesh(one)


def _refuse_dynamic(args):
    for path, leaf in jax.tree_util.tree_leaves_with_path(args):
        where = f"args{jax.tree_util.keystr(path)}"
        shape = getattr(leaf, "shape", None)
        if shape is None and not isinstance(leaf, bool | int | float | complex):
            raise LabError(f"{where} must be an array or a jax.ShapeDtypeStruct, got {type(leaf).__name__}.")
        if not all(isinstance(size, int) for size in shape or ()):
            raise LabError(
                f"{where} must have a fixed shape, got {shape}: compile once per size, or pad to the largest."
            )


def _donated(fn, args) -> tuple[int, ...]:
    """Flat positions of donated arguments of a jitted function."""
    if not hasattr(fn, "trace"):
        return ()
    try:
        info = jax.tree.leaves(fn.trace(*args).args_info, is_leaf=lambda leaf: hasattr(leaf, "donated"))
    except Exception as error:
        raise LabError(f"fn {getattr(fn, '__name__', fn)} cannot be traced: {_first_line(error)}") from error
    return tuple(i for i, leaf in enumerate(info) if leaf.donated)


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else 'no message'}"[:400]
