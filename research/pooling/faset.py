"""Training an attentional set model in two phases, so that it serves sets of any size (FASet).

Phase "base": encoder and decoder learn from sets of one element. Attention weights are 1 there whatever its parameters
are, so these get exactly zero gradient. Phase "attention": the base is frozen, and attention alone learns from larger
sets. Sets of one element keep their outputs to the bit, since attention does not enter them. Source: `yang:20`; the
phases are recalled.

Letters: `G` sets, `N` elements of a padded set, `D` channels, `S` steps.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax

from research.core import validate as checks
from research.core.types import Array, Bool, Float, Key
from research.pooling.attention import AttSets
from research.pooling.superset import Perceptron

__all__ = ["PHASES", "FASet", "singletons", "train", "trainable"]

PHASES = ("base", "attention")


class FASet(eqx.Module):
    """decoder(AttSets(encoder(x)))."""

    encoder: Perceptron
    attention: AttSets
    decoder: Perceptron

    @classmethod
    def create(cls, key: Key, dim: int, hidden: int, outputs: int = 1) -> "FASet":
        keys = jax.random.split(key, 3)
        attention = AttSets.create(keys[1], hidden)
        encoder = Perceptron.create(keys[0], dim, hidden, hidden)
        return cls(encoder, attention, Perceptron.create(keys[2], hidden, hidden, outputs))

    def __call__(self, x: Float[Array, "G N D"], mask: Bool[Array, "G N"] | None = None) -> Float[Array, "G E"]:
        x = x if mask is None else jnp.where(mask[..., None], x, 0)
        return self.decoder(self.attention(self.encoder(x), mask))


def singletons(x: Float[Array, "G N D"], target: Float[Array, "G E"]) -> tuple[Array, Array]:
    """Every element as a set of its own, with the target of its set: `[G N, 1, D]` and `[G N, E]`."""
    groups, size, channels = x.shape
    return x.reshape(groups * size, 1, channels), jnp.repeat(target, size, axis=0)


def trainable(model: FASet, phase: str) -> FASet:
    """The model's tree of bools: what the phase trains."""
    checks.one_of("phase", phase, PHASES)
    nothing = jax.tree.map(lambda _: False, model)
    parts = ("attention",) if phase == "attention" else ("encoder", "decoder")
    return eqx.tree_at(
        lambda tree: [getattr(tree, part) for part in parts], nothing,
        [jax.tree.map(lambda _: True, getattr(nothing, part)) for part in parts],
    )  # fmt: skip


def train(
    model: FASet, phase: str, batches: Any, loss: Callable[[FASet, Any], Array], optimizer: optax.GradientTransformation
) -> tuple[FASet, Float[Array, " S"]]:
    """One phase: a step of the optimizer per batch, on the phase's parameters; the others stay as they are.

    Args:
      batches: pytree with a leading axis of S steps; sets of one element in phase "base" (`singletons`).
      loss: (model, batch) -> number.
      optimizer: of optax.

    Returns: the model and the losses before every step.
    Raises: ValueError for an unknown phase.
    """
    moving, fixed = eqx.partition(model, trainable(model, phase))

    def step(carry, batch):
        moving, state = carry
        value, slope = jax.value_and_grad(lambda part: loss(eqx.combine(part, fixed), batch))(moving)
        change, state = optimizer.update(slope, state, moving)
        return (optax.apply_updates(moving, change), state), value

    (moving, _), losses = jax.lax.scan(step, (moving, optimizer.init(moving)), batches)
    return eqx.combine(moving, fixed), losses
