"""What a rule will cost before it is run: regret and MaxVio of every rule and schedule, and the best step size.

Near balance f is quadratic with Hessian H, and the loads of T tokens scatter with covariance S / T in shares. The mean
and the covariance of p_n - p* then follow linear recursions, exact for the proportional rules; for the sign rule signs
of normal loads are replaced by their mean and slope. H and S come from a model (`of_model`) or from a router's scores
(`of_scores`): of near ties between the last chosen and the first refused expert, and of who is chosen.
Source: derived here; the limits are those of `regret_bounds`.

Letters: `N` steps, `T` tokens, `E` experts, `K` experts per token.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.scipy.special import erf

from pallas_kernels import topk_route as _kernel
from research.balancing import assignment, population, regret_bounds
from research.balancing.bias_update import Rule
from research.balancing.gumbel_router import GumbelRouter
from research.balancing.score_models import Independent
from research.core import validate as checks
from research.core.types import Array, Bool, Float

__all__ = ["Constants", "Forecast", "best_step_size", "forecast", "of_model", "of_scores"]


class Constants(NamedTuple):
    """Of f and of loads at balance, or at the bias where they were measured."""

    hessian: Float[Array, "E E"]  # H
    covariance: Float[Array, "E E"]  # S, of one token's selection


class Forecast(NamedTuple):
    """Expectations for n = 1, ..., N under the bias of before update n."""

    excess: Float[Array, " N"]  # f(p_{n-1}) - f(p*), in score units per token
    regret: Float[Array, " N"]  # sums of these
    max_violation: Float[Array, " N"]  # MaxVio of a batch whose experts are all alike


def of_model(model: Independent | GumbelRouter, top_k: int = 1) -> Constants:
    """At the balance of a model."""
    if isinstance(model, GumbelRouter):
        checks.require(top_k == 1, "top_k", "be 1", top_k)
        hessian = model.minimum().hessian
        return Constants(hessian, hessian)
    found = population.minimum(model, top_k)
    return Constants(found.hessian, population.selection_covariance(model, found.bias, top_k))


def of_scores(
    scores: Float[Array, "T E"],
    bias: Float[Array, " E"],
    top_k: int,
    width: float | Float[Array, ""],
    *,
    valid: Bool[Array, " T"] | None = None,
) -> Constants:
    """Measured on the scores of one batch, of independent tokens, under a bias near balance.

    Args:
      width: w > 0, in score units: w_jk is the share of tokens whose last chosen and first refused expert are j and k,
        in either order, and less than w apart, over 2 w. Take some per cent of the scores' standard deviation.
      valid: False for padding.
    """
    checks.positive("width", width)
    checks.in_range("top_k", top_k, 1, scores.shape[1] - 1)
    num_experts = scores.shape[1]
    found = _kernel.topk_route(scores, bias, top_k + 1)
    biased = found.score + bias[found.index]
    counted = jnp.ones(len(scores), bool) if valid is None else valid
    tokens = counted.sum().astype(scores.dtype)
    near = counted & (biased[:, top_k - 1] - biased[:, top_k] < width)
    pairs = jnp.zeros((num_experts, num_experts), scores.dtype)
    pairs = pairs.at[found.index[:, top_k - 1], found.index[:, top_k]].add(near.astype(scores.dtype))
    weights = (pairs + pairs.T) / (2 * tokens * width)
    chosen = assignment.chosen(found.index[:, :top_k], num_experts) & counted[:, None]
    chosen = chosen.astype(scores.dtype)
    share = chosen.sum(axis=0) / tokens
    return Constants(population.laplacian(weights), chosen.T @ chosen / tokens - share[:, None] * share[None])


def forecast(
    constants: Constants, rule: Rule, tokens: int, top_k: int, start: Float[Array, " E"], num_steps: int
) -> Forecast:
    """Expected course of a run of `online` whose bias begins at p* + `start`.

    Args:
      rule: without centring, clipping, momentum or averages, which are ignored; "prop_l1" is not served.
      tokens: T of a step; `regret_bounds.effective_tokens` where they are correlated.

    Raises: ValueError for "prop_l1", or bad sizes.
    """
    checks.one_of("rule", rule.rule, ("sign", "prop", "prop_raw", "rel"))
    checks.at_least("tokens", tokens, 1)
    checks.at_least("num_steps", num_steps, 1)
    hessian, noise = constants.hessian, constants.covariance / tokens
    e = hessian.shape[0]
    checks.shape("start", start, (e,))
    start = jnp.asarray(start, hessian.dtype) - jnp.mean(start)
    scale = {"prop": 1.0, "prop_raw": float(tokens), "rel": e / top_k, "sign": 1.0}[rule.rule]
    deviation = jnp.sqrt(jnp.diagonal(noise))
    correlation = jnp.clip(noise / (deviation[:, None] * deviation[None]), -1, 1)
    identity = jnp.eye(e, dtype=hessian.dtype)

    def advance(carry, n):
        mean, covariance = carry
        excess = 0.5 * (mean @ hessian @ mean + jnp.sum(hessian * covariance))
        shift = hessian @ mean  # of the load shares
        scatter = noise + hessian @ covariance @ hessian
        # Loads differ from K / E by their shift and their scatter; of equal scatter, the largest is m_E times that.
        violation = regret_bounds.expected_maximum(e) * jnp.sqrt(jnp.trace(scatter) / (e - 1)) * e / top_k
        violation = jnp.maximum(violation, jnp.max(shift) * e / top_k)
        size = scale * rule.step_size_at(n).astype(hessian.dtype)
        if rule.rule == "sign":
            spread = jnp.sqrt(jnp.diagonal(scatter))
            ratio = shift / spread
            slope = jnp.sqrt(2 / jnp.pi) * jnp.exp(-0.5 * ratio**2) / spread
            pulled = identity - size * slope[:, None] * hessian
            moved = mean - size * erf(ratio / jnp.sqrt(2.0))
            # Of signs of normal variables; nearly certain signs hardly scatter.
            certain = jnp.exp(-0.5 * ratio**2)
            added = 2 / jnp.pi * jnp.arcsin(correlation) * certain[:, None] * certain[None]
        else:
            pulled, moved, added = identity - size * hessian, mean - size * shift, noise
        # A common change of all biases does nothing.
        moved = moved - moved.mean()
        return (moved, pulled @ covariance @ pulled.T + size**2 * added), (excess, violation)

    begin = (start, jnp.zeros_like(hessian))
    _, (excess, violation) = jax.lax.scan(advance, begin, jnp.arange(1, num_steps + 1))
    return Forecast(excess, jnp.cumsum(excess), violation)


def best_step_size(
    constants: Constants,
    rule: Rule,
    tokens: int,
    top_k: int,
    start: Float[Array, " E"],
    num_steps: int,
    candidates: Float[Array, " C"],
) -> tuple[Float[Array, ""], Float[Array, " C"]]:
    """The candidate with the least regret after N steps, and the regret of each.

    Args:
      rule: whose own step size is replaced; the rest as in `forecast`.
      candidates: step sizes > 0, in the units of the rule.
    """
    checks.positive("candidates", candidates)
    candidates = jnp.asarray(candidates, constants.hessian.dtype)

    def regret(step_size):
        tried = eqx.tree_at(lambda r: r.step_size, rule, step_size)
        return forecast(constants, tried, tokens, top_k, start, num_steps).regret[-1]

    regrets = jax.vmap(regret)(candidates)
    # Steps beyond 2 / mu diverge, and their regret overflows.
    return candidates[jnp.argmin(jnp.where(jnp.isfinite(regrets), regrets, jnp.inf))], regrets
