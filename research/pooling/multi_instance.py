"""Bags of instances, and the steps that both ways of stochastic pooling share: sampling, the AUC loss, its updates.

A bag is scored by pooling the scores of its instances; the area under the ROC curve (AUC) is the chance that a positive
bag scores higher than a negative one. Its surrogate is a min-max problem in the model w, the class means a and b of the
scores h, and a multiplier alpha >= 0:

    mean_P (h - a)^2 + mean_N (h - b)^2 + 2 alpha (margin + mean_N h - mean_P h) - alpha^2,

mean_P over positive and mean_N over negative bags.

Source: `zhu:23`, equation 1 and section 4; `yuan:21` for the loss. Departures: the public code lets alpha enter the
gradient of w without the factor 2 and moves it by eta (margin + difference - alpha); so does this one.

Letters: `G` bags of at most `N` instances with `D` entries, `B` instances seen per bag, `S` bags per step.
"""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from research.core import validate as checks
from research.core.types import Array, Bool, Float, Int, Key

__all__ = [
    "Params", "Problem", "Sample", "Saddle", "area_under_curve", "bag_problem", "linear_loss", "move", "sample",
    "start_saddle", "validate",
]  # fmt: skip


class Problem(eqx.Module):
    instances: Float[Array, "G N D"]
    positive: Bool[Array, " G"]
    mask: Bool[Array, "G N"]  # True is an instance; every bag has one
    scorer: Any  # module; where learning starts. Maps `[..., D]` to what the pooling needs of an instance


class Params(eqx.Module):
    num_steps: int = eqx.field(static=True)  # steps by one call of `run`
    bags: int = eqx.field(static=True, default=8)  # of each class per step
    instances: int = eqx.field(static=True, default=4)  # B, seen of each bag
    temperature: float | Float[Array, ""] = 0.1  # tau > 0, in score units; of no effect on attention
    averaging: float | Float[Array, ""] = 0.9  # gamma in (0, 1]; 1 forgets
    dual_step: float | Float[Array, ""] = 1.0  # eta > 0
    margin: float | Float[Array, ""] = 0.5
    learning_rate: float | Float[Array, ""] = 0.02
    momentum: float | Float[Array, ""] = 0.1  # in [0, 1)
    # What a bag's first visit does: True takes the minibatch as it is; False averages it into 0 (smoothed maximum) or
    # into 1 and 1 (attention), as the public code does, which sets the first score off.
    first_visit: bool = eqx.field(static=True, default=True)

    def __check_init__(self):
        checks.at_least("Params.num_steps", self.num_steps, 1)
        checks.at_least("Params.bags", self.bags, 1)
        checks.at_least("Params.instances", self.instances, 1)
        checks.positive("Params.temperature", self.temperature)
        checks.positive("Params.dual_step", self.dual_step)
        checks.positive("Params.learning_rate", self.learning_rate)
        if checks.is_concrete(self.averaging, self.momentum):
            allowed = bool(np.all((np.asarray(self.averaging) > 0) & (np.asarray(self.averaging) <= 1)))
            checks.require(allowed, "Params.averaging", "lie in (0, 1]", self.averaging)
            allowed = bool(np.all((np.asarray(self.momentum) >= 0) & (np.asarray(self.momentum) < 1)))
            checks.require(allowed, "Params.momentum", "lie in [0, 1)", self.momentum)


class Saddle(NamedTuple):
    """The variables of the min-max problem, and the buffers of their momentum."""

    scorer: Any
    means: Float[Array, " 2"]  # a of positive, b of negative bags
    dual: Float[Array, ""]  # alpha >= 0
    buffers: Any  # like (scorer, means)


class Sample(NamedTuple):
    """Positive bags first, then as many negative ones."""

    bag: Int[Array, " S"]  # without repetition
    instances: Float[Array, "S B D"]
    mask: Bool[Array, "S B"]  # False where a bag has fewer than B


def validate(problem: Problem, params: Params) -> None:
    """Raises ValueError for shapes that do not fit, empty bags, or too few bags or instances for a step."""
    bags, most, _ = np.shape(problem.instances)
    checks.shape("Problem.positive", problem.positive, (bags,))
    checks.shape("Problem.mask", problem.mask, (bags, most))
    checks.in_range("Params.instances", params.instances, 1, most)
    if checks.is_concrete(problem.positive, problem.mask):
        positive = np.asarray(problem.positive)
        least = min(int(positive.sum()), int((~positive).sum()))
        checks.require(params.bags <= least, "Params.bags", f"be <= {least}, the bags of the rarer class", params.bags)
        checks.require(bool(np.asarray(problem.mask).any(axis=1).all()), "Problem.mask",
                       "leave an instance in every bag", "an empty bag")  # fmt: skip


def start_saddle(problem: Problem) -> Saddle:
    """At the problem's scorer, with a, b, alpha and all buffers zero."""
    dtype = problem.instances.dtype
    means = jnp.zeros(2, dtype)
    scorer = jax.tree.map(jnp.asarray, problem.scorer)
    return Saddle(scorer, means, jnp.zeros((), dtype), jax.tree.map(jnp.zeros_like, (scorer, means)))


def sample(problem: Problem, params: Params, key: Key) -> Sample:
    """Bags of both classes and instances of each, without replacement."""
    of_bags, of_instances = jax.random.split(key)
    score = jax.random.uniform(of_bags, problem.positive.shape)

    def chosen(eligible):
        return jax.lax.top_k(jnp.where(eligible, score, -1), params.bags)[1]

    bag = jnp.concatenate([chosen(problem.positive), chosen(~problem.positive)])
    mask = problem.mask[bag]
    order = jnp.where(mask, jax.random.uniform(of_instances, mask.shape), -1)
    at = jax.lax.top_k(order, params.instances)[1]
    return Sample(
        bag,
        jnp.take_along_axis(problem.instances[bag], at[..., None], axis=1),
        jnp.take_along_axis(mask, at, axis=1),
    )


def linear_loss(saddle: Saddle, value: Float[Array, " S"], surrogate: Float[Array, " S"]) -> Float[Array, ""]:
    """A function whose gradient in w is the loss's, for surrogates with the gradient of the bags' scores.

    Args:
      value: scores h, of which no gradient is taken.
      surrogate: differentiable in w; only its gradient matters.
    """
    positive, negative = slice(0, len(value) // 2), slice(len(value) // 2, None)
    a, b = jax.lax.stop_gradient(saddle.means)
    return (
        jnp.mean(2 * (value[positive] - a) * surrogate[positive])
        + jnp.mean(2 * (value[negative] - b) * surrogate[negative])
        + saddle.dual * (surrogate[negative].mean() - surrogate[positive].mean())
    )


def move(params: Params, saddle: Saddle, gradient: Any, value: Float[Array, " S"]) -> Saddle:
    """One step of w, a and b down by momentum, and of alpha up.

    Args:
      gradient: in w.
      value: scores h of the sampled bags.
    """
    half = len(value) // 2
    centers = jnp.stack([value[:half].mean(), value[half:].mean()])
    slopes = gradient, 2 * (saddle.means - centers)
    buffers = jax.tree.map(lambda old, new: params.momentum * old + (1 - params.momentum) * new, saddle.buffers, slopes)
    scorer, means = jax.tree.map(
        lambda p, step: (p - params.learning_rate * step).astype(p.dtype), (saddle.scorer, saddle.means), buffers
    )
    slack = params.margin + centers[1] - centers[0] - saddle.dual
    return Saddle(scorer, means, jnp.maximum(0, saddle.dual + params.dual_step * slack), buffers)


def area_under_curve(score: Float[Array, " G"], positive: Bool[Array, " G"]) -> Float[Array, ""]:
    """Share of pairs of a positive and a negative bag in which the positive one scores higher, ties half; in [0, 1]."""
    above = (score[:, None] > score[None]) + 0.5 * (score[:, None] == score[None])
    pairs = positive[:, None] & ~positive[None]
    return jnp.sum(jnp.where(pairs, above, 0)) / jnp.maximum(pairs.sum(), 1)


def bag_problem(
    key: Key, scorer: Any, bags: int = 200, size: int = 50, dim: int = 10, shift: float = 3.0, most: int = 3
) -> Problem:
    """Every other bag is positive and holds one to `most` instances moved by `shift` along a hidden unit direction.

    All instances are standard normal; the direction is the first axis: their law has no preferred one.
    """
    where, number = jax.random.split(key)
    instances = jax.random.normal(where, (bags, size, dim))
    positive = jnp.arange(bags) % 2 == 0
    count = jnp.where(positive, jax.random.randint(number, (bags,), 1, most + 1), 0)
    moved = jnp.where(jnp.arange(size)[None] < count[:, None], shift, 0.0)
    return Problem(instances.at[..., 0].add(moved), positive, jnp.ones((bags, size), bool), scorer)
