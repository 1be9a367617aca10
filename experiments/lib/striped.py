"""Supervised training with examples over the devices of the mesh axis `data`, from a few functions of a task.

Examples are dealt to stripes in turn, and stripes are split over the devices; every batch takes equally many from each
stripe, at random. Which ones they are, and all that is random about them, is drawn at the shape of the whole batch: it
is the same on any mesh, and so are results up to rounding, if what a task sums is sums over examples. Any number of
examples will do: stripes that got one less are filled up with one that is never drawn nor judged. A replicate is a
seed; replicates run one after the other, each on the whole mesh.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from experiments.lib.program import Program
from research.core import prng
from research.core import validate as checks

__all__ = ["Task", "axis_name", "program"]


class Task(NamedTuple):
    """What is learned: functions of one replicate and, but for `judge`, of a device's part of the examples.

    Attributes:
      start: `key -> (weights, statistics)`; statistics are what changes without a gradient, `()` if there are none.
      objective: `(weights, statistics, examples, draws, key) -> (sums, statistics)`. Examples and draws have leaves
        `[n, ...]`; the key is of the step and equal on all devices. Sums over examples by name, scalars: `loss`,
        `weight`, by which all are divided when those of all devices have been added, and any others. Statistics must
        come out equal on all devices: what they are taken from is averaged over `axis_name(mesh)`.
      predict: `(weights, statistics, examples) -> outputs`, leaves `[n, ...]`.
      judge: `(outputs, examples) -> metrics`, scalars, of all examples for validation in their order.
      draw: `(key, shape) -> draws`, leaves `[*shape, ...]`: what is random about an example.
    """

    start: Callable[[Any], tuple[Any, Any]]
    objective: Callable[..., tuple[dict[str, jax.Array], Any]]
    predict: Callable[..., Any]
    judge: Callable[[Any, Any], dict[str, jax.Array]]
    draw: Callable[[Any, tuple[int, ...]], Any] = lambda key, shape: ()


def axis_name(mesh) -> str | None:
    """The mesh axis of examples, None where the mesh has none and all are on one device."""
    return "data" if "data" in mesh.shape else None


def program(config, mesh, task: Task, *, optimizer, load: Callable[[], tuple[Any, Any]], like: tuple[Any, Any]):
    """The program of a task.

    Args:
      config: `problem.stripes`, which the devices must divide; `run.batch_size`, a multiple of it; both parts
        must have at least as many examples as there are stripes. The rest of `run` as everywhere.
      optimizer: an optax transformation of the mean loss's gradient.
      load: `() -> (train, validation)`, NumPy arrays `[n, ...]` in any trees; memory-mapped ones are read in part, by
        each process what its devices hold.
      like: their `jax.ShapeDtypeStruct`s.

    Metrics, `[R]`: every sum of the objective over its `weight`, mean of the chunk's steps; and, after the chunk,
    `validation/<name>` of what `judge` finds.

    Raises:
      ValueError: a number does not fit the stripes, or the stripes do not fit the mesh.
    """
    run, stripes, axis = config.run, config.problem.stripes, axis_name(mesh)
    devices = mesh.shape["data"] if axis else 1
    checks.require(stripes % devices == 0, "config.problem.stripes", f"be a multiple of {devices}", stripes)
    fits = run.batch_size > 0 and run.batch_size % stripes == 0
    checks.require(fits, "config.run.batch_size", f"be a positive multiple of {stripes} stripes", run.batch_size)
    sizes = [jax.tree.leaves(part)[0].shape[0] for part in like]
    for name, size in zip(("training", "validation"), sizes, strict=True):
        checks.require(size >= stripes, f"examples for {name}", f"be at least {stripes}, one a stripe", size)
    held = (sizes[0] - jnp.arange(stripes) + stripes - 1) // stripes  # of the training examples, by stripe

    def local(train, validation, state, at, draws):
        """A device's part of a chunk: its stripes and their draws."""

        def step(state, drawn):
            weights, statistics, moments, key, number = state
            at, draws = drawn
            examples = jax.tree.map(lambda leaf: _flat(jax.vmap(lambda one, i: one[i])(leaf, at)), train)
            own = prng.per_step(prng.stream(key, "steps"), number)

            def total(weights):
                sums, updated = task.objective(weights, statistics, examples, jax.tree.map(_flat, draws), own)
                return sums["loss"], (sums, updated)

            gradient, (sums, statistics) = jax.grad(total, has_aux=True)(weights)
            gradient, sums = jax.lax.psum((gradient, sums), axis) if axis else (gradient, sums)
            means = {name: value / sums["weight"] for name, value in sums.items() if name != "weight"}
            update, moments = optimizer.update(
                jax.tree.map(lambda leaf: leaf / sums["weight"], gradient), moments, weights
            )
            return (optax.apply_updates(weights, update), statistics, moments, key, number + 1), means

        state, means = jax.lax.scan(step, state, (at, draws))
        outputs = jax.lax.map(lambda examples: task.predict(*state[:2], examples), validation)
        return state, jax.tree.map(jnp.mean, means), outputs

    if axis:
        on, wide = P(axis), P(None, axis)
        local = jax.shard_map(
            local, mesh=mesh, in_specs=(on, on, P(), wide, wide), out_specs=(P(), P(), on), check_vma=False
        )

    def one(data, state):
        """A chunk of one replicate."""
        train, validation = data
        key, number = state[3], state[4]
        shape = (run.chunk, stripes, run.batch_size // stripes)
        places, others = jax.random.split(prng.per_step(prng.stream(key, "batches"), number))
        at = jax.random.randint(places, shape, 0, held[None, :, None])
        state, means, outputs = local(train, validation, state, at, task.draw(others, shape))
        in_order = lambda leaf: _flat(jnp.swapaxes(leaf, 0, 1))[: sizes[1]]  # noqa: E731
        found = task.judge(jax.tree.map(in_order, outputs), jax.tree.map(in_order, validation))
        return state, means | {f"validation/{name}": value for name, value in found.items()}

    def start(key):
        weights, statistics = task.start(key)
        return weights, statistics, optimizer.init(weights), key, jnp.int32(0)

    def advance(data, state):
        done = [one(data, jax.tree.map(lambda leaf, r=r: leaf[r], state)) for r in range(run.replicates)]
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *done)

    def placed(tree, spec):
        to = NamedSharding(mesh, spec)
        return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=to), tree)

    keys = prng.replicate_keys(prng.root_key(config.seed), run.replicates)
    state = placed(jax.eval_shape(jax.vmap(start), keys), P())
    dealt = lambda leaf: jax.ShapeDtypeStruct((stripes, -(-leaf.shape[0] // stripes), *leaf.shape[1:]), leaf.dtype)  # noqa: E731
    data = placed(jax.tree.map(dealt, like), P(axis))

    def init():
        to = jax.tree.map(lambda leaf: leaf.sharding, state)
        return jax.tree.map(_deal, load(), data), jax.jit(jax.vmap(start), out_shardings=to)(keys)

    return Program(init, jax.jit(advance), (data, state), ("seed",), {})


def _flat(leaf):
    """Rows of the second axis, one after the other."""
    return leaf.reshape(-1, *leaf.shape[2:])


def _deal(leaf, like: jax.ShapeDtypeStruct) -> jax.Array:
    """Example i at place i // stripes of stripe i % stripes; the last example fills what is left over."""
    stripes, longest = like.shape[:2]
    rows = np.minimum(np.arange(longest)[None] * stripes + np.arange(stripes)[:, None], len(leaf) - 1)
    fits = like.shape[2:] == leaf.shape[1:] and len(leaf) > stripes * (longest - 1)
    checks.require(fits, "load", "give what `like` says", leaf.shape)
    return jax.make_array_from_callback(like.shape, like.sharding, lambda at: leaf[rows[at[:2]]][(..., *at[2:])])
