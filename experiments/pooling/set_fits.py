"""Fits on sets drawn afresh at every step: what the experiments on sets have in common.

Step k of a replicate draws the same batch however its run is cut into chunks.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import optax

from research.core import prng

__all__ = ["Fit", "advance", "start"]


class Fit(NamedTuple):
    """A model while it is trained."""

    step: Any  # steps done
    model: Any
    moments: Any  # of the optimizer


def start(model, optimizer: optax.GradientTransformation) -> Fit:
    return Fit(jax.numpy.int32(0), model, optimizer.init(model))


def advance(key, fit: Fit, optimizer: optax.GradientTransformation, draw: Callable, loss: Callable, num_steps: int):
    """`num_steps` steps; `draw(key) -> batch`, `loss(model, batch) -> number`. Returns the fit and the mean loss."""

    def step(fit, _):
        batch = draw(prng.per_step(key, fit.step))
        value, slope = jax.value_and_grad(loss)(fit.model, batch)
        change, moments = optimizer.update(slope, fit.moments, fit.model)
        return Fit(fit.step + 1, optax.apply_updates(fit.model, change), moments), value

    fit, losses = jax.lax.scan(step, fit, length=num_steps)
    return fit, losses.mean()
