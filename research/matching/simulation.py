"""The closed-form rounding for many replicates at once, with the draws and decisions of `rounding.run`.

Prepares the times of a problem for `pallas_kernels.match_scan`, which plays them. A step visits only nodes that propose
at it (rate above 0), so that the sparse solutions of LP-OnOpt cost what their support costs.
Source: `braverman:24`, mode "closed_form" of `research.matching.rounding`.

Letters: `n` offline nodes, `T` times, `R` replicates.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from pallas_kernels.match_scan import Plan, match_scan
from research.core import prng
from research.core import validate as checks
from research.core.types import Array, Float, Int, Key
from research.matching import draws, rounding

__all__ = ["Summary", "prepare", "simulate"]


class Summary(NamedTuple):
    value: Float[Array, " R"]  # weight matched by each replicate
    free: Int[Array, "T+1 n"] | None  # replicates in which the node was free before the time; None unless asked for


@functools.partial(jax.jit, static_argnames=("mode", "block", "count_free"))
def _simulate(problem, keys, mode, block, count_free):
    words = draws.key_words(jax.vmap(lambda key: prng.stream(key, "rounding"))(keys))
    found = match_scan(
        prepare(problem), jnp.stack(words), discards=mode == "closed_form", count_free=count_free, block=block
    )
    free = found.free[: problem.arrivals.shape[0] + 1] if count_free else None
    return Summary(found.value.astype(problem.weights.dtype), free)


def simulate(
    problem: rounding.Problem,
    keys: Key,
    *,
    mode: str = "closed_form",
    block: int | None = None,
    count_free: bool = False,
    validate: bool = True,
) -> Summary:
    """Plays all times once for each key; replicate r is what `rounding.run(problem, params, keys[r])` gives.

    Args:
      keys: `[R]`, one for each replicate.
      mode: "closed_form" or "keep".
      block: replicates simulated together, None for the tuned number; changes the speed and no result.
      count_free: also count, for every time and node, the replicates in which the node is free before it.

    Raises: ValueError for bad input.
    """
    checks.one_of("mode", mode, ("closed_form", "keep"))
    if block is not None:
        checks.at_least("block", block, 1)
    if validate:
        rounding.validate(problem, rounding.Params(mode=mode))
    return _simulate(problem, keys, mode, block, count_free)


def prepare(problem: rounding.Problem) -> Plan:
    """The times of a problem, padded to whole blocks of draws with times at which nobody arrives or proposes."""
    typed = problem.typed
    rates, arrivals = (x if typed else x[..., None] for x in (problem.rates, problem.arrivals))
    late = -arrivals.shape[0] % draws.STEPS_PER_DRAW
    arrivals = jnp.pad(arrivals.astype(jnp.float32), ((0, late), (0, 0)))
    rates = jnp.pad(draws.on_grid(rates), ((0, 0), (0, late), (0, 0))).transpose(1, 2, 0)
    weights = problem.weights.astype(jnp.float32)
    weights = weights if typed else weights[..., None]
    weights = jnp.pad(weights, ((0, 0), (0, 0 if weights.shape[1] == 1 else late), (0, 0))).transpose(1, 2, 0)
    weights = jnp.broadcast_to(weights, rates.shape)
    order = rounding.weight_order(jnp.where(rates > 0, weights, -1))
    ranked = (jnp.take_along_axis(x, order, axis=-1) for x in (weights, rates))
    proposing = jnp.where(arrivals > 0, jnp.sum(rates > 0, axis=-1, dtype=jnp.int32), 0)
    return Plan(order, *ranked, proposing, arrivals)
