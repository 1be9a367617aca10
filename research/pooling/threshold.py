"""Weights with an exact mean: sigmoids of scores, shifted until they average mu (primitive of soft top-k and of GSP).

The shift b solves mean_j sigmoid(b + a_j) = mu, a scalar equation per row. Newton's steps are kept in a bracket; the
gradient is that of the solution, not of the iteration: with d = s (1 - s), d alpha = (d / mu) (da - sum d da / sum d).
Source: derived; for the costs of `gurbuz:23` it is the fixed point of their sweeps in closed form.

Letters: `n` scores of a row that take part.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from research.core import validate as checks
from research.core.types import Array, Bool, Float
from research.pooling.operator import Operator

__all__ = ["STEPS", "example", "soft_top_k", "threshold_weights"]

#: Reaches rounding in float64 for scores 1e5 apart and mu from 1e-6. 20, as the published derivation has it, are enough
#: for scores 10 apart; at 1e3, with mu in the gap between two scores, they leave 1e-3.
STEPS = 32


def threshold_weights(
    scores: Float[Array, "*B N"], mu: float | Float[Array, "*B"], *, mask: Bool[Array, "*B N"] | None = None,
    steps: int = STEPS,
) -> Float[Array, "*B N"]:  # fmt: skip
    """alpha_j = sigmoid(b + a_j) / mu with mean 1 over the scores that take part.

    Args:
      scores: a; float32 at least inside.
      mu: in (0, 1), one for all rows or one per row: the mean of the sigmoids.
      mask: True takes part; weights are 0 elsewhere.
      steps: of the solver, static.

    Returns: weights in [0, 1 / mu]; `set_bounds.threshold_limits`, T8.
    Raises: ValueError for mu outside (0, 1), a wrong mask or steps < 1.
    """
    checks.require(np.ndim(scores) >= 1, "scores", "have at least one axis", np.shape(scores))
    if checks.is_concrete(mu):
        values = np.asarray(mu)
        checks.require(bool(((values > 0) & (values < 1)).all()), "mu", "lie in (0, 1)", mu)
    rows = np.shape(scores)[:-1]
    checks.require(np.shape(mu) in ((), rows), "mu", f"be a number or have shape {rows}", np.shape(mu))
    checks.at_least("steps", steps, 1)
    if mask is not None:
        checks.shape("mask", mask, np.shape(scores))
        checks.require(jnp.issubdtype(jnp.result_type(mask), jnp.bool_), "mask", "be boolean", jnp.result_type(mask))
    scores = jnp.asarray(scores)
    wide = scores.astype(jnp.promote_types(scores.dtype, jnp.float32))
    mask = jnp.ones(scores.shape, bool) if mask is None else mask
    mu = jnp.broadcast_to(jnp.asarray(mu, wide.dtype), rows)[..., None]
    return _solution(jnp.where(mask, wide, 0), mu, mask, steps)[0].astype(scores.dtype)


def soft_top_k(
    scores: Float[Array, "*B N"], k: float | Float[Array, "*B"], *, temperature: float | Array = 1.0,
    mask: Bool[Array, "*B N"] | None = None, steps: int = STEPS,
) -> Float[Array, "*B N"]:  # fmt: skip
    """Weights in [0, 1] whose sum is k: those of the k largest tend to 1 as the temperature falls, the others to 0.

    Args:
      k: > 0, one for all rows or one per row; rows with at most k scores keep all of them, with weight 1.
      temperature: > 0, in the unit of the scores.
      mask, steps: as in `threshold_weights`.

    Raises: ValueError for k <= 0, a temperature that is not positive, and what `threshold_weights` refuses.
    """
    checks.positive("k", k)
    checks.positive("temperature", temperature)
    rows = np.shape(scores)[:-1]
    checks.require(np.shape(k) in ((), rows), "k", f"be a number or have shape {rows}", np.shape(k))
    scores = jnp.asarray(scores)
    taken = jnp.ones(scores.shape, bool) if mask is None else mask
    scores = jnp.where(taken, scores, 0)  # before the division, whose gradient in the temperature would see them
    share = k / jnp.maximum(taken.sum(axis=-1), 1).astype(scores.dtype)
    kept = share >= 1
    mu = jnp.where(kept, 0.5, share)
    weights = mu[..., None] * threshold_weights(scores / temperature, mu, mask=mask, steps=steps)
    return jnp.where(kept[..., None], taken.astype(scores.dtype), weights)


@functools.partial(jax.custom_jvp, nondiff_argnums=(3,))
def _solution(scores, mu, mask, steps):
    """Weights, and the shift b that gives them."""
    count = jnp.maximum(mask.sum(axis=-1, keepdims=True), 1)
    shift = _shift(scores, mu, mask, count, steps)
    return jnp.where(mask, jax.nn.sigmoid(shift + scores) / mu, 0), shift


def _shift(scores, mu, mask, count, steps):
    """b, by Newton's steps inside a bracket that shrinks."""
    logit = jnp.log(mu) - jnp.log1p(-mu)
    some = mask.any(axis=-1, keepdims=True)
    largest = jnp.where(some, jnp.max(scores, axis=-1, keepdims=True, where=mask, initial=-jnp.inf), 0)
    smallest = jnp.where(some, jnp.min(scores, axis=-1, keepdims=True, where=mask, initial=jnp.inf), 0)
    low, high = logit - largest, logit - smallest
    start = jnp.clip(logit - scores.sum(axis=-1, keepdims=True) / count, low, high)
    tiny = jnp.finfo(scores.dtype).tiny

    def step(_, carry):
        low, high, shift = carry
        share = jax.nn.sigmoid(shift + scores)
        excess = jnp.where(mask, share, 0).sum(axis=-1, keepdims=True) / count - mu
        slope = jnp.where(mask, share * (1 - share), 0).sum(axis=-1, keepdims=True) / count
        low, high = jnp.where(excess < 0, shift, low), jnp.where(excess >= 0, shift, high)
        newton = shift - excess / jnp.maximum(slope, tiny)
        # The bracket is closed: with an open one the root itself, once found, would be left for the middle.
        inside = (newton >= low) & (newton <= high)
        return low, high, jnp.where(inside, newton, (low + high) / 2)

    return jax.lax.fori_loop(0, steps, step, (low, high, start))[2]


@_solution.defjvp
def _solution_jvp(steps, primals, tangents):
    (scores, mu, mask), (of_scores, of_mu, _) = primals, tangents
    alpha, shift = _solution(scores, mu, mask, steps)
    share = alpha * mu
    slope = share * (1 - share)
    # d / sum d is a softmax of log d: where every sigmoid is saturated d vanishes, and its direction does not.
    logit = scores + shift
    log_slope = jax.nn.log_sigmoid(logit) + jax.nn.log_sigmoid(-logit)
    direction = jnp.where(mask, jax.nn.softmax(jnp.where(mask, log_slope, -jnp.inf), axis=-1), 0)
    count = jnp.maximum(mask.sum(axis=-1, keepdims=True), 1)
    mean = (direction * jnp.where(mask, of_scores, 0)).sum(axis=-1, keepdims=True)
    of_alpha = slope / mu * (of_scores - mean) + (count * direction - alpha) / mu * of_mu
    total = jnp.maximum(slope.sum(axis=-1, keepdims=True), jnp.finfo(scores.dtype).tiny)
    return (alpha, shift), (of_alpha, count / total * of_mu - mean)


def example(key) -> dict[str, Operator]:
    """Weights of mean 1, and of sum 2, for three rows of up to six scores."""
    scores = 2 * jax.random.normal(key, (3, 6))
    mask = jnp.arange(6)[None] < jnp.array([6, 4, 2])[:, None]

    def weights(params, scores, mask):
        return threshold_weights(scores, params, mask=mask)

    def top(params, scores, mask):
        return soft_top_k(scores, 1.5, temperature=params, mask=mask)

    rule = "sigmoid(b + a) / mu, mean_j sigmoid(b + a_j) = mu"
    return {
        "threshold_weights": Operator(weights, jnp.asarray(0.3), scores, rule, "gurbuz:23", mask=mask),
        "soft_top_k": Operator(
            top, jnp.asarray(0.7), scores, "sigmoid(b + a / T), sum_j sigmoid(b + a_j / T) = k", "gurbuz:23", mask=mask
        ),
    }
