"""What happens with infinitely many tokens of independent expert scores: the dual per token and its derivatives.

f(p) = E TopKSum(s + p) - (K / E) sum p, gradient pi(p) - K / E, pi_k the probability that expert k is chosen. With
N(t) = #{k: s_k + p_k > t}, a sum of independent coins, everything is an integral over t of probabilities of N, of N
without one expert, or without two:

    f + (K / E) sum p = K t_0 + int_{t_0} E min(K, N(t)) dt,  t_0 below all scores
    pi_k = int density_k(t) P(N_{-k}(t) <= K - 1) dt
    w_jk = int density_j density_k P(N_{-jk} = K - 1) dt,  Hessian = Laplacian of the weights w
    P(j and k chosen) = int (density_j P(s_k + p_k > t) + density_k P(s_j + p_j > t)) P(N_{-jk} <= K - 2) dt

Leaving experts out is done by sums of products of prefixes and suffixes, not by division, which loses digits.
Source: derived here; `han:25` for strong convexity of f. Float64 is meant where differences of f matter.

Letters: `E` experts, `K` experts per token, `Q` nodes.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from research.balancing.score_models import Independent
from research.core import loops
from research.core import validate as checks
from research.core.types import Array, Bool, Float, Int

__all__ = [
    "NODES", "Minimum", "hessian", "laplacian", "minimum", "objective", "overlap", "pair_probability",
    "selection_covariance", "selection_probability",
]  # fmt: skip

#: Nodes that give twelve digits for unit scales and locations that differ by some units.
NODES = 513
#: Numbers that an integration may hold at once; above, nodes are taken in turns.
_MEMORY = 1 << 24


def _check(model, top_k):
    checks.in_range("top_k", top_k, 1, model.num_experts)


def _flip(pmf, q):
    """The law of a count after one more coin, of its first entries; they depend on earlier entries only."""
    return pmf * (1 - q) + jnp.concatenate([jnp.zeros(1, pmf.dtype), pmf[:-1]]) * q


def _counts(q, size):
    """Laws of the number of successes among the first 0, 1, ..., E coins: `[E + 1, size]`, entries 0 to size - 1."""
    start = jnp.zeros(size, q.dtype).at[0].set(1)
    last, before = jax.lax.scan(lambda pmf, q: (_flip(pmf, q), pmf), start, q)
    return jnp.concatenate([before, last[None]])


def _without_one(q, size):
    """Of the coins without coin k, `[E]` each: P(count = size - 1) and P(count <= size - 1)."""
    before, after = _counts(q, size)[:-1], _counts(q[::-1], size)[::-1][1:]
    exactly = jnp.sum(before * after[:, ::-1], axis=1)
    return exactly, jnp.sum(before * jnp.cumsum(after, axis=1)[:, ::-1], axis=1)


def _integrate(model, bias, num_nodes, integrand, size=1):
    """Sum over the nodes of weight times `integrand(survivals, densities)`, which takes `size` numbers of memory."""
    grid = model.grid(bias, num_nodes)
    nodes = grid.nodes.shape[0]
    batch_size = None if nodes * size <= _MEMORY else max(1, _MEMORY // size)

    def at(node):
        return integrand(model.survival(node, bias), model.density(node, bias))

    values = jax.vmap(at)(grid.nodes) if batch_size is None else jax.lax.map(at, grid.nodes, batch_size=batch_size)
    return jnp.tensordot(grid.weights, values, axes=1)


def objective(model: Independent, bias: Float[Array, " E"], top_k: int, *, num_nodes: int = NODES) -> Float[Array, ""]:
    """f(p), in score units per token."""
    _check(model, top_k)
    short = jnp.arange(top_k, 0, -1, dtype=bias.dtype)  # K - N for N = 0, ..., K - 1

    def integrand(q, density):
        del density
        return top_k - _counts(q, top_k)[-1] @ short

    start = model.support(bias)[0].min()
    return top_k * start + _integrate(model, bias, num_nodes, integrand) - top_k * bias.mean()


def selection_probability(
    model: Independent, bias: Float[Array, " E"], top_k: int, *, num_nodes: int = NODES
) -> Float[Array, " E"]:
    """pi_k, in [0, 1]; their sum is K."""
    _check(model, top_k)
    return _integrate(model, bias, num_nodes, lambda q, density: density * _without_one(q, top_k)[1])


def _pairs(model, bias, num_nodes, size, integrand):
    """Integrals of `integrand(q, density, exactly, at most)` with the laws of N without j and k as `[E, E]`."""
    none = jnp.eye(model.num_experts, dtype=bool)

    def of_node(q, density):
        # Without j: its coin never succeeds.
        exactly, at_most = jax.vmap(lambda out: _without_one(jnp.where(out, 0, q), size))(none)
        return jnp.where(none, 0, integrand(q, density, exactly, at_most))

    return _integrate(model, bias, num_nodes, of_node, size=2 * model.num_experts**2 * size)


def overlap(model: Independent, bias: Float[Array, " E"], top_k: int, *, num_nodes: int = NODES) -> Float[Array, "E E"]:
    """w_jk: the density at zero of the difference between j and k where these two compete for the last place."""
    _check(model, top_k)

    def integrand(q, density, exactly, at_most):
        del q, at_most
        return density[:, None] * density[None] * exactly

    return _pairs(model, bias, num_nodes, top_k, integrand)


def laplacian(weights: Float[Array, "E E"]) -> Float[Array, "E E"]:
    """diag(sum_k w_jk) - w."""
    return jnp.diag(weights.sum(axis=1)) - weights


def hessian(model: Independent, bias: Float[Array, " E"], top_k: int, *, num_nodes: int = NODES) -> Float[Array, "E E"]:
    """Of f at p: the Laplacian of `overlap`. Its trace is the density at zero of the margin between K-th and next."""
    return laplacian(overlap(model, bias, top_k, num_nodes=num_nodes))


def pair_probability(
    model: Independent, bias: Float[Array, " E"], top_k: int, *, num_nodes: int = NODES
) -> Float[Array, "E E"]:
    """P(j and k are both chosen), with pi on the diagonal."""
    single = jnp.diag(selection_probability(model, bias, top_k, num_nodes=num_nodes))
    if top_k == 1:
        return single

    def integrand(q, density, exactly, at_most):
        del exactly
        return (density[:, None] * q[None] + density[None] * q[:, None]) * at_most

    return single + _pairs(model, bias, num_nodes, top_k - 1, integrand)


def selection_covariance(
    model: Independent, bias: Float[Array, " E"], top_k: int, *, num_nodes: int = NODES
) -> Float[Array, "E E"]:
    """S: covariance of the indicators of selection of one token; that of load shares A / T is S / T."""
    together = pair_probability(model, bias, top_k, num_nodes=num_nodes)
    probability = jnp.diagonal(together)
    return together - probability[:, None] * probability[None]


class Minimum(NamedTuple):
    """Perfect balance of the population."""

    bias: Float[Array, " E"]  # p*, of mean 0
    value: Float[Array, ""]  # f(p*)
    hessian: Float[Array, "E E"]
    steps: Int[Array, ""]  # evaluations of gradient and Hessian
    converged: Bool[Array, ""]


class _Newton(NamedTuple):
    """A bias with its derivatives, and where to look next: each is computed at one place of the program."""

    bias: Array
    slope: Array
    curvature: Array
    proposed: Array


@functools.partial(jax.jit, static_argnames=("top_k", "num_nodes", "max_steps"))
def minimum(
    model: Independent,
    top_k: int,
    *,
    num_nodes: int = NODES,
    tolerance: float | Float[Array, ""] | None = None,
    max_steps: int = 100,
) -> Minimum:
    """p* by Newton's method from biases that make mean scores equal.

    The Hessian is that of zero-sum biases, + 1 1' / E; no coordinate moves by more than 1 or half the least scale.

    Args:
      tolerance: of the largest gradient entry; None: 1e-11 in float64 and 1e-6 in float32.
    """
    _check(model, top_k)
    e = model.num_experts
    dtype = model.location.dtype
    tolerance = (1e-11 if dtype == jnp.float64 else 1e-6) if tolerance is None else tolerance

    def improve(carry):
        bias = carry.proposed
        slope = selection_probability(model, bias, top_k, num_nodes=num_nodes) - top_k / e
        curvature = hessian(model, bias, top_k, num_nodes=num_nodes)
        # Regularised by the slope, which vanishes at the minimum: experts without competitors have no curvature.
        regular = curvature + 1 / e + jnp.abs(slope).max() * jnp.eye(e, dtype=dtype)
        move = jnp.linalg.solve(regular, slope)
        move = move * jnp.minimum(1, cap / jnp.maximum(jnp.abs(move).max(), 1e-30))
        return _Newton(bias, slope, curvature, bias - move + move.mean())

    cap = jnp.minimum(1, 0.5 * model.scale.min())  # further away an expert may have left all others behind
    start = model.mean().mean() - model.mean()  # exact for location families
    none = jnp.full(e, jnp.inf, dtype)
    begin = _Newton(start, none, jnp.zeros((e, e), dtype), start)
    active = lambda carry: ~(jnp.abs(carry.slope).max() < tolerance)  # noqa: E731
    last, steps = loops.while_active(improve, active, begin, max_steps)
    value = objective(model, last.bias, top_k, num_nodes=num_nodes)
    return Minimum(last.bias, value, last.curvature, steps, ~active(last))
