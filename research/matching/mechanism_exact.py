"""Exact posted prices for up to twelve nodes, and the welfare and revenue of every time and free set under them.

Prices are differences of M_t(F) = max_{G in F} U_t(G), U the value to go of the rounding, enumerated. Welfare from
every time and set is at least M, hence U; `mechanism` says why, and has the same prices by rollouts.
Source: as `mechanism`. Guarantee: `mechanism.welfare_guarantee` with no error and no decrease.

Letters: `n` nodes, `T` times, `J` types, `S = 2^n` sets (bit i: node i is free).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from research.core import validate as checks
from research.core.types import Array, Float, Int
from research.matching import exact_law, mechanism, rounding

__all__ = ["Exact", "exact", "largest_decrease", "monotone"]


class Exact(NamedTuple):
    """The mechanism with exact prices, from every time and free set."""

    prices: Float[Array, "T S n"]  # infinite for nodes that are not free
    choices: Int[Array, "T S *J"]  # who buys what, -1 for nothing; as `exact_law.law_of_choices` takes them
    welfare: Float[Array, "T+1 S"]  # to go; entry [0, -1] is that of the whole run
    revenue: Float[Array, "T+1 S"]
    rounding: Float[Array, "T+1 S"]  # U: the value to go of the rounding


def monotone(values: Float[Array, "... S"]) -> Float[Array, "... S"]:
    """M(F) = max over subsets G of F of `values(G)`: the least function above `values` that grows with F."""
    num_sets = values.shape[-1]
    for bit in range(num_sets.bit_length() - 1):
        halves = values.reshape(*values.shape[:-1], -1, 2, 1 << bit)
        values = halves.at[..., 1, :].max(halves[..., 0, :]).reshape(values.shape)
    return values


def largest_decrease(values: Float[Array, "... S"]) -> Float[Array, "..."]:
    """max over G in F of `values(G) - values(F)`, >= 0: how far the value falls when nodes are added."""
    return jnp.max(monotone(values) - values, axis=-1)


def exact(problem: mechanism.Problem, mode: str = "closed_form") -> Exact:
    """Exact prices and what they achieve, for n <= 12; `problem.reports` are ignored: buyers tell the truth.

    Raises: ValueError for more nodes, another mode, and as `mechanism.validate`.
    """
    checks.one_of("mode", mode, mechanism.MODES)
    mechanism.validate(problem)
    values = exact_law.values_to_go(problem.rounding, rounding.Params(mode=mode))
    return _exact(problem, values)


@jax.jit
def _exact(problem, values):
    num_nodes = problem.weights.shape[0]
    inside = jnp.asarray(exact_law.membership(num_nodes))
    sets = jnp.arange(1 << num_nodes)
    without = sets[:, None] ^ (1 << jnp.arange(num_nodes))[None, :]
    worth = monotone(values)[1:]
    prices = jnp.where(inside[None], worth[:, :, None] - worth[:, without], jnp.inf)

    def back(later, time):
        prices, weights, arrivals = time
        bought = mechanism.choose(prices[None], weights[:, None])  # [J, S]
        node, sale = jnp.maximum(bought, 0), bought >= 0
        rest = without[sets[None], node]
        earned = jnp.stack([jnp.take_along_axis(weights, node, axis=1), prices[sets[None], node]])
        change = jnp.where(sale[None], earned + later[:, rest] - later[:, None], 0)
        now = later + jnp.sum(arrivals[None, :, None] * change, axis=1)
        return now, (bought, now)

    last = jnp.zeros((2, 1 << num_nodes), values.dtype)
    _, (bought, earlier) = jax.lax.scan(
        back, last, (prices, *mechanism.by_time(problem, problem.weights)), reverse=True
    )
    welfare, revenue = jnp.moveaxis(jnp.concatenate([earlier, last[None]]), 1, 0)
    choices = jnp.moveaxis(bought, 1, -1) if problem.typed else bought[:, 0]
    return Exact(prices, choices, welfare, revenue, values)
