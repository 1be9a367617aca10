"""Exact laws under audit: random instances, the law of the free set under every rule, and its errors."""

import jax
import jax.numpy as jnp

from research.core import prng
from research.core.types import Array, Float, Key
from research.matching import certificates, exact_law, leaving, problems, rounding

__all__ = ["errors", "free_law", "instance", "naive_law", "naive_slack"]


def instance(
    key: Key, num_nodes: int, num_steps: int, num_types: int, dtype
) -> tuple[problems.Problem, Float[Array, "n T *J"]]:
    """Random weights, arrivals and feasible x; half of x asks for all that is left. 0 types: Bernoulli."""
    shape = (num_nodes, num_steps, *((num_types,) if num_types else ()))
    weights = jax.random.uniform(prng.stream(key, "weights"), shape, dtype)
    arrivals = jax.random.uniform(prng.stream(key, "arrivals"), shape[1:], dtype)
    if num_types:
        arrivals = arrivals / num_types
    problem = problems.Problem(weights, arrivals)
    asked = 2 * jax.random.uniform(prng.stream(key, "x"), shape, dtype)
    return problem, certificates.repair(problem, asked * arrivals[None])


def free_law(rounded: rounding.Problem, mode: str, threshold: Float[Array, ""]) -> Float[Array, "T+1 S"]:
    """The law of the free set before every time and after the last; modes as in `experiments.matching.law`."""
    if mode == "naive":
        return naive_law(rounded)
    name = "closed_form" if mode == "typed" else mode
    params = rounding.Params(mode=name, theta=threshold if mode == "bins" else None)
    return exact_law.law(rounded, params, validate=False).free


def naive_law(rounded: rounding.Problem) -> Float[Array, "T+1 S"]:
    """Pivotal sampling without the discarding rule: all proposers leave if somebody arrives, nobody otherwise."""
    num_nodes = rounded.weights.shape[0]
    inside = jnp.asarray(exact_law.membership(num_nodes))

    def forward(mass, time):
        weights, p, rates = time
        order = rounding.weight_order(weights)
        wanted = jnp.where(inside, rates[None], 0)
        # Selected nodes that leave surely: the law of the proposers themselves.
        gone = leaving.by_leaving_sets(mass, wanted, lambda v: leaving.pivotal_leaving(v, order, 1.0))
        mass = (1 - p) * mass + p * gone
        return mass, mass

    start = jnp.zeros(1 << num_nodes, rounded.weights.dtype).at[-1].set(1)
    _, later = jax.lax.scan(forward, start, (rounded.weights.T, rounded.arrivals, rounded.rates.T))
    return jnp.concatenate([start[None], later])


def errors(free: Float[Array, "T+1 S"], survival: Float[Array, "T+1 n"]) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """The largest error of a marginal, and the largest violation of negative dependence, at least 0."""
    marginal = jnp.max(jnp.abs(exact_law.survival(free) - survival))
    return marginal, jnp.max(jnp.stack(exact_law.dependence_slack(free)))


def naive_slack(arrivals, rates) -> Float[Array, "p r"]:
    """Violation by the naive rule for two nodes of one rate after one time, on a grid."""

    def slack(p, rate):
        one = rounding.Problem(jnp.ones((2, 1)), p[None], jnp.full((2, 1), rate))
        return jnp.max(jnp.stack(exact_law.dependence_slack(naive_law(one))))

    over_rates = jax.vmap(slack, in_axes=(None, 0))
    return jax.jit(jax.vmap(over_rates, in_axes=(0, None)))(jnp.asarray(arrivals), jnp.asarray(rates))
