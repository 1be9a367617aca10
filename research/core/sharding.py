"""Replicates over a mesh. Library code takes a mesh, it never looks for one.

Axis names are fixed words: `rep` (independent replicates), `data` (samples or tokens), `model` (experts or features).
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

__all__ = ["AXES", "put", "replicated", "replicates", "split_replicates"]

AXES = ("rep", "data", "model")


def replicates(function: Callable, mesh: Mesh | None, *, shared: int = 0) -> Callable:
    """`function` over a leading replicate axis of its arguments: `vmap` on a device, `shard_map` across `rep`.

    Args:
      function: for one replicate; any pytrees in and out.
      mesh: with an axis `rep` that divides the number of replicates; None for one device.
      shared: how many leading arguments all replicates share; they have no replicate axis and are not copied per lane.

    Returns:
      a function of the same arguments, with `[R, ...]` leaves in and out. Replicates do not communicate: a mesh changes
      where a lane runs, and never its draws.
    """

    def lanes(*args):
        return jax.vmap(function, in_axes=tuple(None if i < shared else 0 for i in range(len(args))))(*args)

    if mesh is None:
        return lanes

    def sharded(*args):
        specs = tuple(P() if i < shared else P("rep") for i in range(len(args)))
        # check_vma=False: a mesh-unaware function that scans from a constant carry is refused otherwise.
        return jax.shard_map(lanes, mesh=mesh, in_specs=specs, out_specs=P("rep"), check_vma=False)(*args)

    return sharded


def split_replicates(tree: Any, mesh: Mesh | None) -> Any:
    """Places `[R, ...]` leaves with their leading axis split over `rep`; abstract leaves get the same sharding."""
    return _place(tree, mesh, P("rep"))


def replicated(tree: Any, mesh: Mesh | None) -> Any:
    """Places every leaf whole on every device of the mesh; abstract leaves get the same sharding."""
    return _place(tree, mesh, P())


def _place(tree: Any, mesh: Mesh | None, spec: P) -> Any:
    if mesh is None:
        return tree
    sharding = NamedSharding(mesh, spec)

    def place(leaf):
        if isinstance(leaf, jax.ShapeDtypeStruct):
            return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)
        return _put(leaf, sharding)

    return jax.tree.map(place, tree)


def put(tree: Any, shardings: Any) -> Any:
    """`jax.device_put` that reaches devices of other processes too.

    Args:
      tree: arrays, the same in every process.
      shardings: a tree of the same structure.
    """
    return jax.tree.map(_put, tree, shardings)


def _put(leaf: Any, sharding: NamedSharding) -> jax.Array:
    known = not isinstance(leaf, jax.core.Tracer) and getattr(leaf, "is_fully_addressable", True)
    if sharding.is_fully_addressable or not known:
        return jax.device_put(leaf, sharding)
    # Each process puts what its own devices are to hold.
    if isinstance(leaf, jax.Array) and jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return jax.random.wrap_key_data(_put(jax.random.key_data(leaf), sharding), impl=jax.random.key_impl(leaf))
    whole = np.asarray(leaf)
    return jax.make_array_from_callback(whole.shape, sharding, whole.__getitem__)
