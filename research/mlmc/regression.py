"""Regression baselines: least squares in place of inner samples.

Both draw plain paths once, explain what comes later by functions of the state now, and decide by the fitted values.
Decisions are then tried on paths that the fit has not seen: what they earn there is a lower bound on average, however
poor the functions are, where the fitted values themselves may lie on either side.

Sources: `longstaff:01` for stopping, `strong:14` for information.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from research.core import prng, validate
from research.core.types import Array, Float, Key
from research.mlmc.decisions import Decision
from research.mlmc.engine import float_dtype
from research.mlmc.problems import NestedExpectation
from research.mlmc.stopping import OptimalStopping

__all__ = ["Bounds", "Estimate", "decide", "draw_paths", "longstaff_schwartz"]


class Estimate(NamedTuple):
    """A mean over independent paths."""

    value: Float[Array, ""]
    error: Float[Array, ""]  # standard error


class Bounds(NamedTuple):
    fitted: Float[Array, ""]  # by the paths of the fit; may lie on either side of the truth
    lower: Estimate  # of decisions on fresh paths: at most the truth on average


def draw_paths(problem: NestedExpectation, key: Key, num_paths: int) -> tuple[Any, ...]:
    """States `[num_paths, ...]` after y_0, ..., y_D of independent paths, one child a node: a tuple of D + 1."""
    dtype = float_dtype(problem)

    def variates(d):
        shape, kinds = (num_paths, problem.num_variates[d]), problem.kinds[d]
        normal, uniform = jax.random.split(prng.per_step(key, d))
        if set(kinds) <= {"normal"}:
            return jax.random.normal(normal, shape, dtype)
        is_normal = jnp.array([[kind == "normal" for kind in kinds]])
        return jnp.where(is_normal, jax.random.normal(normal, shape, dtype), jax.random.uniform(uniform, shape, dtype))

    states = [jax.vmap(problem.init)(variates(0))]
    for d in range(1, problem.depth + 1):
        states.append(jax.vmap(lambda state, u, d=d: problem.transition(d, state, u))(states[-1], variates(d)))
    return tuple(states)


def longstaff_schwartz(problem: OptimalStopping, key: Key, *, fit_paths: int, fresh_paths: int) -> Bounds:
    """The value of a stopping rule found by least squares: stop where the reward is positive and at least the fitted
    value of going on, which is fitted where the reward is positive only.

    Args:
      fit_paths, fresh_paths: of the fit, and for the lower bound; >= 2.

    Source: `longstaff:01`. Departure: the bound is taken on paths of its own; on those of the fit it would be none.
    """
    _check(fit_paths, fresh_paths)
    fit, fresh = jax.random.split(key)
    states = draw_paths(problem, fit, fit_paths)
    value, rules = jax.vmap(problem.leaf)(states[-1]), {}
    for d in reversed(range(problem.depth)):
        reward, features = _at(problem, d, states[d])
        going_on = problem.discount * value
        rules[d] = _least_squares(features, going_on, weight=reward > 0)
        value = jnp.where(_stops(reward, features, rules[d]), reward, going_on)
    fitted = jnp.mean(value)
    states = draw_paths(problem, fresh, fresh_paths)
    value = jax.vmap(problem.leaf)(states[-1])
    for d in reversed(range(problem.depth)):
        reward, features = _at(problem, d, states[d])
        value = jnp.where(_stops(reward, features, rules[d]), reward, problem.discount * value)
    return Bounds(fitted, _estimate(value))


def decide(problem: Decision, key: Key, *, fit_paths: int, fresh_paths: int) -> Bounds:
    """EVPPI by regression of the benefits on functions of X.

    `fitted` is the mean of the largest fitted benefit, less that of the best option without information; `lower` what
    decisions by fitted benefits gain over that option on fresh paths. Arguments as those of `longstaff_schwartz`.
    Source: `strong:14`; departures: polynomials instead of splines or a Gaussian process, and the lower bound.
    """
    _check(fit_paths, fresh_paths)
    fit, fresh = jax.random.split(key)
    before, after = draw_paths(problem, fit, fit_paths)
    features = jax.vmap(problem.features)(before)
    rule = _least_squares(features, jax.vmap(problem.leaf)(after))
    predicted = features @ rule
    fitted = jnp.mean(jnp.max(predicted, axis=1)) - jnp.max(jnp.mean(predicted, axis=0))
    before, after = draw_paths(problem, fresh, fresh_paths)
    choice = jnp.argmax(jax.vmap(problem.features)(before) @ rule, axis=1)
    gains = jnp.take_along_axis(jax.vmap(problem.leaf)(after), choice[:, None], axis=1)[:, 0]
    return Bounds(fitted, _estimate(gains))


def _check(fit_paths, fresh_paths):
    validate.at_least("fit_paths", fit_paths, 2)
    validate.at_least("fresh_paths", fresh_paths, 2)


def _at(problem, d, states):
    return (
        jax.vmap(lambda state: problem.reward(d, state))(states),
        jax.vmap(lambda state: problem.features(d, state))(states),
    )


def _stops(reward, features, rule):
    return (reward > 0) & (reward >= features @ rule)


def _least_squares(features, target, weight=None):
    """Coefficients `[F]` or `[F, K]` of the least squares fit on the rows of weight; the shortest where many fit."""
    if weight is not None:
        features, target = features * weight[:, None], target * weight
    # The default cut grows with the number of rows, and would drop directions that count in float32.
    cut = 10 * jnp.finfo(features.dtype).eps
    return jnp.linalg.lstsq(features, target, rcond=cut)[0]


def _estimate(values):
    return Estimate(jnp.mean(values), jnp.std(values, ddof=1) / jnp.sqrt(len(values)))
