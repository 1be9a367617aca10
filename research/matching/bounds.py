"""What is guaranteed: published ratios with where they come from, worst cases in closed form, the identity behind them.

At a time with arrival probability p let `X` be the sum of the proposal rates of the free nodes. The rounding earns
`p sum_k (w_(k) - w_(k+1)) E[min(1, X_k)]`, with `X_k` over the k heaviest nodes, and the relaxation the same sum with
`sum_{i <= k} x_i / p` for the expectation. So a bound `E[min(1, X)] >= c sum_i x_i / p` for every set of nodes makes c
the ratio against LP-OnOpt, hence against the best online policy. `rho` is that bound where the mass lies either on
fresh nodes or on nearly exhausted ones; `research.matching.adversary` searches among all others.
Source: `braverman:24`; the closed forms are derived here and reproduce its constant and that of `naor:25` from their
published parameters. The ratios of `braverman:22`, `papadimitriou:21`, `saberi:21`, `feldman:15` and `tang:22` stand
beside them.
"""

import math
from typing import Literal, NamedTuple

import jax.numpy as jnp
import numpy as np

from research.core import validate as checks
from research.core.types import Array, Float

__all__ = [
    "GUARANTEES", "Guarantee", "Worst", "by_prefixes", "expected_proposal", "hard_edge_ratio", "policy_value_of_step",
    "relaxation_value_of_step", "rescaled", "rho", "threshold", "validate_rescaling",
]  # fmt: skip


class Guarantee(NamedTuple):
    """A line to draw: `algorithm` earns at least `ratio` times `benchmark` on `inputs`."""

    ratio: float
    algorithm: str
    benchmark: Literal["philosopher", "LP-OnOpt", "prophet", "ex-ante LP"]
    inputs: str
    #: "published": stated in the source; "quoted": stated by `braverman:24` of the source; "derived": proved or checked
    #: in this family; "recalled": of the literature, not looked up again.
    provenance: Literal["published", "quoted", "derived", "recalled"]
    source: str


#: Every ratio of the family by name. `philosopher`: the best online policy; `prophet`: the best matching in hindsight.
#: The algorithm of the first row is rebuilt from the properties that its source states; `rho` is 0.67897 for it.
#: Beside them: approximating the philosopher within some constant below 1 is PSPACE-hard (`papadimitriou:21`).
GUARANTEES: dict[str, Guarantee] = {
    "pivotal": Guarantee(
        0.678, "pivotal or closed_form, eps=.11, delta=.18", "LP-OnOpt", "edge weights", "published", "braverman:24"
    ),
    "pivotal_vertex": Guarantee(
        0.685, "pivotal sampling, its own parameters", "philosopher", "vertex weights", "published", "braverman:24"
    ),
    "bins": Guarantee(
        0.652, "bins, eps=.0480, delta=.0643", "philosopher", "edge weights", "quoted", "naor:25"
    ),
    "independent": Guarantee(
        1 - 1 / math.e, "independent proposals", "LP-OnOpt", "edge weights", "published", "braverman:22"
    ),
    "saberi_wajc": Guarantee(
        0.526, "single proposals with a second chance, refined", "philosopher", "edge weights", "published", "saberi:21"
    ),
    "papadimitriou": Guarantee(
        0.51, "single proposals with a second chance", "philosopher", "edge weights", "published", "papadimitriou:21"
    ),
    "half": Guarantee(0.5, "half, tight", "ex-ante LP", "edge weights", "derived", "braverman:24"),
    "fgl": Guarantee(0.5, "static prices, tight", "ex-ante LP", "edge weights", "derived", "feldman:15"),
    "offline_statistics": Guarantee(
        0.666, "fine-grained offline statistics", "prophet", "vertex weights", "quoted", "tang:22"
    ),
    "offline_statistics_fractional": Guarantee(
        0.718, "the same, fractional", "prophet", "vertex weights", "recalled", "tang:22"
    ),
    "offline_statistics_iid": Guarantee(
        0.704, "the same, identical arrivals", "prophet", "vertex weights", "recalled", "tang:22"
    ),
}  # fmt: skip


class Worst(NamedTuple):
    """The worst case of a closed form: the ratio, and the mass on nearly exhausted nodes where it is attained."""

    ratio: Float[Array, "..."]
    exhausted: Float[Array, "..."]  # in [0, 1]; the rest of the mass is on fresh nodes


def validate_rescaling(eps, delta) -> None:
    """Raises ValueError unless eps lies in [0, 1), delta >= 0, and both or neither is 0 (else h(1) = 1 cannot hold)."""
    checks.in_range("eps", eps, 0, 1)
    checks.finite("delta", delta)
    checks.at_least("delta", delta, 0)
    if checks.is_concrete(eps, delta):
        pairs = np.stack(np.broadcast_arrays(np.asarray(eps, float), np.asarray(delta, float)), -1).reshape(-1, 2)
        lone = pairs[((pairs == 0).sum(-1) == 1) | (pairs[:, 0] == 1)]
        allowed = "satisfy eps < 1 and be both positive or both 0"
        checks.require(not len(lone), "(eps, delta)", allowed, tuple(map(float, lone[0])) if len(lone) else ())


def rescaled(y, eps, delta):
    """h(y) on [0, 1]: slope 1 - eps up to `threshold`, then 1 + delta, so that h(1) = 1."""
    return jnp.maximum((1 - eps) * y, (1 + delta) * y - delta)


def threshold(eps, delta):
    """theta = delta / (eps + delta), where the slope of h changes; 1 without rescaling."""
    total = jnp.asarray(eps + delta)
    return jnp.where(total > 0, delta / jnp.where(total > 0, total, 1), 1)


def rho(eps, delta) -> Worst:
    """min over s in [0, 1] of 1 - (eps + (1 - eps) s) exp(-(1 + delta) s): s on exhausted nodes, 1 - s on fresh ones.

    rho(.11, .18) = 0.678965138, rho(.048, .0643) = 0.652796899, rho(0, 0) = 1 - 1/e. Derived here; that no other
    configuration is worse is evidence (`research.matching.adversary`), not a theorem. Arrays broadcast.

    Raises: ValueError, see `validate_rescaling`.
    """
    validate_rescaling(eps, delta)
    eps, delta = jnp.asarray(eps), jnp.asarray(delta)
    exhausted = jnp.clip(1 / (1 + delta) - eps / (1 - eps), 0, 1)
    return Worst(1 - (eps + (1 - eps) * exhausted) * jnp.exp(-(1 + delta) * exhausted), exhausted)


def hard_edge_ratio(num_exhausted, poisson, eps=0.0, delta=0.0):
    """Value over LP of `problems.hard_edge(num_exhausted, poisson, eta)` as eta -> 0, exactly, for all free-set laws

    with independent nodes there: 1 - (1 - h(1 - s)) h(1 - s/m)^m, where all nodes but the fresh one have rate 1. For
    1 - s below the threshold of h this is 1 - (1 - (1 - eps)(1 - s)) (1 - (1 + delta) s/m)^m.

    Args:
      num_exhausted: m >= 1.
      poisson: s in [0, 1].
    """
    checks.at_least("num_exhausted", num_exhausted, 1)
    checks.in_range("poisson", poisson, 0, 1)
    validate_rescaling(eps, delta)
    poisson = jnp.asarray(poisson)
    nobody = jnp.exp(num_exhausted * jnp.log1p(-_free_with(poisson / num_exhausted, eps, delta)))
    return 1 - _free_with(poisson, eps, delta) * nobody


def _free_with(left, eps, delta):
    """1 - h(1 - left), without the cancellation."""
    return jnp.minimum(eps + (1 - eps) * left, (1 + delta) * left)


def by_prefixes(weights: Float[Array, " n"], prefixes: Float[Array, " n"]) -> Float[Array, ""]:
    """sum_k (w_(k) - w_(k+1)) prefix_k, with `prefixes` by decreasing weight (ties: smaller index first)."""
    ordered = -jnp.sort(-weights)
    return jnp.sum((ordered - jnp.append(ordered[1:], 0)) * prefixes)


def expected_proposal(
    weights: Float[Array, " n"], rates: Float[Array, " n"], law: Float[Array, " 2^n"]
) -> Float[Array, " n"]:
    """E[min(1, X_k)] for the k heaviest nodes, k = 1..n, under a law of the free set (bit i of an index: i is free)."""
    free = (jnp.arange(law.shape[0])[:, None] >> jnp.arange(weights.shape[0])[None, :]) & 1
    mass = (free * rates[None, :])[:, jnp.argsort(-weights, stable=True)]
    return jnp.sum(law[:, None] * jnp.minimum(1, jnp.cumsum(mass, 1)), 0)


def policy_value_of_step(weights, arrival, rates, law):
    """What one time earns in expectation under `pivotal` or `closed_form`, from the law of the free set before it.

    Args:
      weights, rates: `[n]` of this time.
      arrival: p in [0, 1].
      law: `[2^n]`, see `expected_proposal`.
    """
    return arrival * by_prefixes(weights, expected_proposal(weights, rates, law))


def relaxation_value_of_step(weights, x):
    """What the relaxation earns at one time, `<weights, x>`, as the same sum over prefixes; `weights, x [n]`."""
    return by_prefixes(weights, jnp.cumsum(x[jnp.argsort(-weights, stable=True)]))
