"""What many programs have in common: replicates are drawn from their keys, and each advances alone."""

import functools
from collections.abc import Callable
from typing import Any

import jax

from experiments.lib import mesh as mesh_lib
from experiments.lib.program import Program
from research.core import prng, sharding
from research.core.types import Key

__all__ = ["program", "run_keys"]


def program(
    config, mesh, *, draw: Callable[[Key], Any], start: Callable[[Any], Any], advance: Callable, axes: dict,
    common: Callable[[], Any] = tuple, common_shape: Any = None, traced_fields: tuple[str, ...] = ("seed",),
    in_turn: bool = False, start_from_common: bool = False,
) -> Program:  # fmt: skip
    """A program from functions of one replicate.

    Args:
      draw: key of the replicate -> what it is asked about; traceable, reads no file.
      start: `(drawn) -> state` before the first step; `(common, drawn) -> state` with `start_from_common`.
      advance: `(common, drawn, state) -> (state, metrics)`, one chunk; metrics `[]` or `[axis]`.
      common: what all replicates share, computed or loaded once.
      common_shape: its `jax.ShapeDtypeStruct`s, where it is loaded and cannot be traced.
      axes, traced_fields: as in `Program`.
      in_turn: a device runs its replicates one after another. A replicate that is a batch in itself gains nothing from
        company, and loops of data-dependent length last as long as the longest of those that run together.
    """

    def replicates(*shared):
        drawn = jax.vmap(draw)(prng.replicate_keys(prng.root_key(config.seed), config.run.replicates))
        return drawn, jax.vmap(functools.partial(start, *shared))(drawn)

    shape = jax.eval_shape(common) if common_shape is None else common_shape
    shared = (shape,) if start_from_common else ()
    drawn, state = sharding.split_replicates(jax.eval_shape(replicates, *shared), mesh)
    abstract = ((sharding.replicated(shape, mesh), drawn), state)

    def init():
        placed = jax.tree.map(lambda leaf: leaf.sharding, (drawn, state))
        loaded = sharding.replicated(common(), mesh)
        made, first = jax.jit(replicates, out_shardings=placed)(*((loaded,) if start_from_common else ()))
        return (loaded, made), first

    alone = jax.custom_batching.sequential_vmap(advance) if in_turn else advance
    lanes = mesh_lib.over_replicates(mesh, alone, shared=1)
    return Program(init, jax.jit(lambda data, state: lanes(*data, state)), abstract, traced_fields, axes)


def run_keys(key: Key, first, count: int) -> Key:
    """Keys `[count]` of the simulated runs first, first + 1, ... of a replicate."""
    return prng.replicate_keys(prng.stream(key, "runs"), count, first)
