"""The exact law of the free set, and the exact value, of any rounding of up to twelve nodes.

Differentiable in weights, arrivals and rates. The law is a vector over the 2^n sets, bit i for node i, and every time
is a linear map of it. What the map needs is small: how likely node i leaves given the set that was free. Leaving is
mutually exclusive ("keep", "single", a policy), independent ("independent"), exclusive within bins ("bins"), or
exclusive plus independent discards ("closed_form"); "pivotal", and "closed_form" with types, go through the law of the
leaving set given the free set, 4^n numbers and for "pivotal" n times as many: at n = 12 seconds for every time.
Source: `braverman:24` for the algorithms; the enumeration is our own, and certifies the discarding rules.

Letters: `n` nodes, `T` times, `J` types, `S = 2^n` sets.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from research.core import validate as checks
from research.core.types import Array, Float, Int
from research.matching import leaving, rounding

__all__ = [
    "MAX_NODES", "Law", "dependence_slack", "law", "law_of_choices", "membership", "survival", "values_to_go",
]  # fmt: skip

MAX_NODES = 12


class Law(NamedTuple):
    free: Float[Array, "T+1 S"]  # probability of each free set before each time, and after the last
    matched: Float[Array, "n T *J"]  # probability that node and time (and type) are matched
    value: Float[Array, ""]


class _Time(NamedTuple):
    weights: Float[Array, "J n"]
    arrivals: Float[Array, " J"]
    rates: Float[Array, "J n"]


def membership(num_nodes: int) -> np.ndarray:
    """`[2^n, n]`, whether node i is in set s, that is bit i of s."""
    return (np.arange(1 << num_nodes)[:, None] >> np.arange(num_nodes)[None]) & 1 == 1


def law(problem: rounding.Problem, params: rounding.Params | None = None, *, validate: bool = True) -> Law:
    """The law under `params.mode` ("closed_form" if None); all T times, whatever `params.num_steps` is.

    Raises: ValueError for more than 12 nodes, and as `rounding.validate`.
    """
    params = rounding.Params() if params is None else params
    _require_small(problem)
    if validate:
        rounding.validate(problem, params)
    return _law(problem, params)


@jax.jit
def _law(problem, params):
    return _evolve(problem, functools.partial(_moves, params))


def law_of_choices(problem: rounding.Problem, choices: Int[Array, "T S *J"]) -> Law:
    """The law of a deterministic policy: `choices` is the free node that an arrival gets, or -1; rates are not used."""
    _require_small(problem)
    return _law_of_choices(problem, choices)


@jax.jit
def _law_of_choices(problem, choices):
    choices = choices if problem.typed else choices[..., None]

    def moves(time, choice):
        del time
        best = (choice.T[..., None] == jnp.arange(problem.weights.shape[0])[None, None]).astype(problem.weights.dtype)
        return best, leaving.exclusive

    return _evolve(problem, moves, choices)


def values_to_go(problem: rounding.Problem, params: rounding.Params | None = None) -> Float[Array, "T+1 S"]:
    """U_t(F): expected weight matched from time t on when F is free before it; U_0 of the full set is the value.

    The adjoint of `law`: every time is a linear map of the law, so its transpose moves values backwards.
    """
    params = rounding.Params() if params is None else params
    _require_small(problem)
    rounding.validate(problem, params)
    return _values_to_go(problem, params)


@jax.jit
def _values_to_go(problem, params):
    times = _times(problem)
    num_sets = 1 << problem.weights.shape[0]

    def earned_from(mass, later, time):
        matched, mass = _advance(mass, time, *_moves(params, time))
        return jnp.sum(matched * time.weights) + jnp.dot(mass, later, precision=jax.lax.Precision.HIGHEST)

    def back(later, time):
        now = jax.grad(earned_from)(jnp.zeros(num_sets, later.dtype), later, time)
        return now, now

    last = jnp.zeros(num_sets, problem.weights.dtype)
    _, values = jax.lax.scan(back, last, times, reverse=True)
    return jnp.concatenate([values, last[None]])


def survival(free: Float[Array, "... S"]) -> Float[Array, "... n"]:
    """P[node i is free] from the law of the free set."""
    inside = membership(int(np.log2(free.shape[-1]))).astype(free.dtype)
    return jnp.matmul(free, inside, precision=jax.lax.Precision.HIGHEST)


def dependence_slack(free: Float[Array, "... S"]) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    """max over node sets A of P[A all free] - prod_A q_i, and of P[A all gone] - prod_A (1 - q_i), q the marginals.

    Both are 0 (attained by singletons) or positive; negative cylinder dependence means that they are 0.
    """
    num_nodes = int(np.log2(free.shape[-1]))
    inside = membership(num_nodes)
    contained, covered = free, free
    for bit in range(num_nodes):
        contained = _fold(contained, bit, lambda out, into: (out + into, into))  # sums over supersets
        covered = _fold(covered, bit, lambda out, into: (out, out + into))  # sums over subsets
    q = survival(free)[..., None, :]
    all_free = contained - jnp.prod(jnp.where(inside, q, 1), axis=-1)
    all_gone = covered[..., ::-1] - jnp.prod(jnp.where(inside, 1 - q, 1), axis=-1)  # of the complement
    return jnp.max(all_free, axis=-1), jnp.max(all_gone, axis=-1)


def _fold(mass, bit, combine):
    """Replaces (without, with) node `bit` by `combine` of the two."""
    pairs = mass.reshape(*mass.shape[:-1], -1, 2, 1 << bit)
    return jnp.stack(combine(pairs[..., 0, :], pairs[..., 1, :]), axis=-2).reshape(mass.shape)


def _require_small(problem):
    num_nodes = problem.weights.shape[0]
    allowed = f"be <= {MAX_NODES} for the exact law (2^n sets, 4^n pairs of them)"
    checks.require(num_nodes <= MAX_NODES, "number of offline nodes", allowed, num_nodes)


def _times(problem):
    """All times, `[T, J, ...]`; a Bernoulli problem has one type."""
    arrays = (problem.weights, problem.rates)
    weights, rates = (jnp.moveaxis(a, 0, -1) if problem.typed else a.T[:, None] for a in arrays)
    arrivals = problem.arrivals if problem.typed else problem.arrivals[:, None]
    return _Time(jnp.broadcast_to(weights, rates.shape), arrivals, rates)


def _evolve(problem, moves, *per_time):
    num_sets = 1 << problem.weights.shape[0]

    def forward(mass, inputs):
        time, *rest = inputs
        matched, new = _advance(mass, time, *moves(time, *rest))
        return new, (mass, matched)

    start = jnp.zeros(num_sets, problem.weights.dtype).at[-1].set(1)
    times = _times(problem)
    last, (free, matched) = jax.lax.scan(forward, start, (times, *per_time))
    value = jnp.sum(matched * times.weights)
    matched = jnp.moveaxis(matched, -1, 0)
    return Law(jnp.concatenate([free, last[None]]), matched if problem.typed else matched[..., 0], value)


def _advance(mass, time, best, leave):
    """Matches `[J, n]` and the new law; `best [J, S, n]` is P[i is matched | free set, type j arrives]."""
    matched = time.arrivals[:, None] * jnp.einsum("s,jsi->ji", mass, best, precision=jax.lax.Precision.HIGHEST)
    return matched, leave(mass, jnp.sum(time.arrivals[:, None, None] * best, axis=0))


def _moves(params, time):
    """For one time: `best` of `_advance`, and the map from the law and P[i is matched | free set] to the new law."""
    inside = jnp.asarray(membership(time.rates.shape[1]))
    wanted = jnp.where(inside[None], time.rates[:, None], 0)
    if params.mode == "single":
        return wanted, leaving.exclusive
    p, rates = time.arrivals[0], time.rates[0]
    if params.mode == "independent":
        best = wanted[0] * jnp.prod(jnp.where(_heavier(time.weights[0])[None], 1 - wanted[0][:, None], 1), axis=-1)
        return best[None], lambda mass, _: leaving.independent(mass, p * rates)
    if params.mode == "bins":
        label, _ = rounding.bins(rates, params.theta)
        return _best_over_bins(wanted[0], time.weights[0], label)[None], lambda mass, _: leaving.bins(
            mass, p * rates, label
        )
    best = jax.vmap(_best_proposer)(wanted, time.weights)
    if params.mode == "pivotal":
        order = rounding.weight_order(time.weights[0])
        return best, lambda mass, _: leaving.by_leaving_sets(
            mass, wanted[0], lambda v: leaving.pivotal_leaving(v, order, p)
        )
    if params.mode == "keep":
        return best, leaving.exclusive

    def discard(mass, matched):
        wanted_now = jnp.sum(time.arrivals[:, None, None] * wanted, axis=0)
        discards = (wanted_now - matched) / jnp.where(matched < 1, 1 - matched, 1)
        if time.rates.shape[0] == 1:
            return leaving.closed_form(mass, matched, discards, rounding.weight_order(time.weights[0]))
        return leaving.by_leaving_sets(mass, jnp.stack([matched, discards], 1), leaving.match_and_discard)

    return best, discard


def _heavier(weights):
    """`[i, j]`: node j comes before node i in the order of decreasing weight."""
    rank = jnp.argsort(rounding.weight_order(weights))
    return rank[None] < rank[:, None]


def _best_proposer(wanted, weights):
    ahead = jnp.dot(wanted, _heavier(weights).T.astype(wanted.dtype), precision=jax.lax.Precision.HIGHEST)
    return jnp.minimum(wanted, jnp.maximum(1 - ahead, 0))


def _best_over_bins(wanted, weights, label):
    """Node i proposes, and in every bin but its own nobody heavier does."""
    of_bin = (label[:, None] == jnp.arange(label.shape[0])[None]).astype(wanted.dtype)  # [node, bin]
    ahead = jnp.where(_heavier(weights)[None], wanted[:, None], 0)
    per_bin = jnp.einsum("sij,jb->sib", ahead, of_bin, precision=jax.lax.Precision.HIGHEST)
    return wanted * jnp.prod(jnp.where(of_bin[None] > 0, 1, 1 - per_bin), axis=-1)
