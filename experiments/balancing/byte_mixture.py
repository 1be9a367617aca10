"""A small next-byte model with layers of experts, on which routers are compared: no attention, trained in seconds.

A token is a byte and sees the seven before it, each through an embedding of its place. Every layer is a top-K softmax
mixture without any balancing, so that its logits are as uneven as training makes them. Beside the model, the routers
that need parameters of their own learn to reproduce its logits: the recurrent one layer by layer, the chain's second
router where its first iteration has left the stream.
"""

import itertools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from research.balancing import chain, recurrent_router, softmax_topk
from research.balancing.routing import Context
from research.core.types import Array, Float, Int, Key, UInt

__all__ = ["CONTEXT", "Batch", "Layers", "batch_of", "experts_of", "forward", "loss", "weights"]

#: Bytes that a token sees, its own included.
CONTEXT = 8
_STREAMS = 256


class Batch(NamedTuple):
    """Sequences of consecutive bytes from random places, one after the other."""

    window: UInt[Array, "T c"]  # the token's byte last
    following: UInt[Array, " T"]
    sequence: Int[Array, " T"]


class Layers(NamedTuple):
    """What routers of each layer see."""

    logits: Float[Array, "l T E"]
    hidden: Float[Array, "l T d"]


def batch_of(text: UInt[Array, " N"], key: Key, sequences: int, length: int) -> Batch:
    """Sequences that start at random places of the text."""
    first = jax.random.randint(key, (sequences, 1), CONTEXT, text.shape[0] - length - 1)
    place = (first + jnp.arange(length)[None]).reshape(-1, 1)
    window = text[place - CONTEXT + 1 + jnp.arange(CONTEXT)[None]]
    number = jnp.repeat(jnp.arange(sequences), length, total_repeat_length=sequences * length)
    return Batch(window, text[place[:, 0] + 1], number)


def weights(key: Key, *, layers: int, width: int, experts: int, expert_width: int, recurrent: int) -> dict[str, Any]:
    """Before training: the model's, and under "recurrent", "cell" and "chain" those of routers beside it."""
    passenger = recurrent_router.Recurrent(softmax_topk.SoftmaxTopK(experts, 1), recurrent)
    again = chain.Chain(softmax_topk.SoftmaxTopK(experts, 1), 2)

    def learned_beside(key):
        def of_layer(key):
            return passenger.layer_parameters(key, width), again.layer_parameters(key, width)

        recurrent, chained = jax.vmap(of_layer)(jax.random.split(key, layers))
        return {"recurrent": recurrent, "chain": chained, "cell": passenger.shared_parameters(key, width)["cell"]}

    def matrix(*shape):
        return jax.ShapeDtypeStruct(shape, jnp.float32)

    shapes = {
        "embedding": matrix(_STREAMS, CONTEXT, width),
        "router": matrix(layers, width, experts),
        "up": matrix(layers, experts, width, expert_width),
        "down": matrix(layers, experts, expert_width, width),
        "head": matrix(width, _STREAMS),
    } | jax.eval_shape(learned_beside, key)
    leaves, tree = jax.tree.flatten(shapes)
    ends = list(itertools.accumulate(math.prod(leaf.shape) for leaf in leaves))
    parts = jnp.split(jax.random.normal(key, (ends[-1],)), ends[:-1])  # one draw compiles faster than a dozen
    return jax.tree.unflatten(tree, [_scaled(part, leaf.shape) for part, leaf in zip(parts, leaves, strict=True)])


def _scaled(part, shape):
    """Of variance one over the number of inputs; biases are zero."""
    return jnp.zeros(shape) if len(shape) == 1 else part.reshape(shape) / shape[-2] ** 0.5


def experts_of(up: Float[Array, "E d h"], down: Float[Array, "E h d"]):
    """Experts of a layer as routers call them; all are computed, which is cheap at this size."""

    def experts(hidden, index, gate):
        number = up.shape[0]
        outputs = jnp.einsum("teh,ehd->ted", jax.nn.relu(jnp.einsum("td,edh->teh", hidden, up)), down)
        chosen = index[:, :, None] == jnp.arange(number)[None, None]
        share = jnp.sum(jnp.where(chosen, gate[:, :, None], 0), axis=1)
        return jnp.einsum("te,ted->td", share, outputs)

    return experts


def _normalised(x):
    return x * jax.lax.rsqrt(jnp.mean(x * x, axis=-1, keepdims=True) + 1e-6)


def forward(learned: dict[str, Any], window: UInt[Array, "T c"], top_k: int) -> tuple[Float[Array, "T v"], Layers]:
    """Logits of the next byte, and what the routers of all layers see."""
    stream = sum(learned["embedding"][window[:, place], place] for place in range(CONTEXT))
    inner = softmax_topk.SoftmaxTopK(learned["router"].shape[2], top_k)

    def layer(stream, own):
        hidden = _normalised(stream)
        logits = hidden @ own["router"]
        out, _ = inner.mix((), logits, Context(hidden=hidden), experts_of(own["up"], own["down"]))
        return stream + out, (logits, hidden)

    stream, seen = jax.lax.scan(layer, stream, {name: learned[name] for name in ("router", "up", "down")})
    return _normalised(stream) @ learned["head"], Layers(*seen)


def loss(
    learned: dict[str, Any], batch: Batch, top_k: int, beside: bool = True
) -> tuple[Float[Array, ""], tuple[Any, Layers]]:
    """Nats per byte, plus what the routers beside the model still miss if these learn; and (nats per byte, layers)."""
    scores, seen = forward(learned, batch.window, top_k)
    nats = -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(scores), batch.following[:, None].astype(int), axis=1))
    if not beside:
        return nats, (nats, seen)
    fixed = jax.lax.stop_gradient((seen, learned["up"], learned["down"]))
    return nats + _missed(learned, *fixed, top_k), (nats, seen)


def _missed(learned, seen, up, down, top_k):
    """Squared errors, over both layers, of the recurrent router's logits and of the chain's second ones."""
    _, tokens, experts = seen.logits.shape
    inner = softmax_topk.SoftmaxTopK(experts, top_k)

    def layer(state, own):
        (logits, hidden), up, down, recurrent, again = own
        state = recurrent_router.gru(learned["cell"], hidden @ recurrent["project"], state)
        moved = hidden + inner.mix((), logits, Context(hidden=hidden), experts_of(up, down))[0]
        found = state @ recurrent["readout"], moved @ again["chain"][0]
        return state, sum(jnp.mean((one - logits) ** 2) for one in found)

    state = jnp.zeros((tokens, learned["cell"]["state"].shape[0]))
    return jax.lax.scan(layer, state, (seen, up, down, learned["recurrent"], learned["chain"]))[1].sum()
