"""A model that tells a caption from the features of a picture: projector, prefix of visual tokens, decoder.

The features are pooled to a budget of visual tokens and projected (`token_budgets.TokenFlex`). These see each other, in
both directions; the tokens of the caption behind them see all of them and the caption so far. Positions are learned:
those of visual tokens on the grid of features and pooled as these are, so that they stand where their features do, at
any budget; those of the caption one by one. The decoder is a causal transformer with the norm before each branch.
Source: `hu:25` for the budgets, `vaswani:17` for the decoder.

Letters: `B` pictures, `N` visual tokens, `L` tokens of a caption, `S` = N + L, `d` the width, `V` the vocabulary.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from research.pooling.adaptive import adaptive_pool
from research.pooling.layers import Layer
from research.pooling.token_budgets import TokenFlex

__all__ = ["Captioner", "Decoder", "decays", "prefix_mask", "sums", "tell"]

_START = nn.initializers.normal(0.02)
#: Of the positions of visual tokens: about the deviation with which the projector starts.
_PLACES = nn.initializers.normal(0.5)
#: Names of the parameters that decay: not norms, biases, positions and embeddings.
_DECAYED = ("kernel", "value", "gate", "project")


def prefix_mask(visual: int, length: int) -> np.ndarray:
    """Who sees whom, `[S, S]` bool by who looks: visual tokens each other, the caption them and what came before."""
    mask = np.tril(np.ones((visual + length,) * 2, bool))
    mask[:visual, :visual] = True
    return mask


def _attention(query, key, value, mask=None, **_):
    """Products of the dtype of what is given, with a softmax in float32; flax's own has one or the other."""
    return jax.nn.dot_product_attention(query, key, value, mask=mask)


class Block(nn.Module):
    """Attention and a GELU layer of four times the width, each behind a norm and added to its input."""

    heads: int

    @nn.compact
    def __call__(self, x, mask):
        attend = nn.MultiHeadDotProductAttention(self.heads, attention_fn=_attention)
        x = x + attend(nn.LayerNorm()(x), mask=mask)
        hidden = nn.gelu(nn.Dense(4 * x.shape[-1])(nn.LayerNorm()(x)))
        return x + nn.Dense(x.shape[-1])(hidden), None


class Decoder(nn.Module):
    """Blocks one after the other and a norm, `[B, S, d]` to the same, by a mask `[S, S]`.

    Layers are one loop over stacked parameters. With `remat`, what is inside a block is computed again backwards.
    """

    layers: int
    heads: int
    remat: bool = False

    @nn.compact
    def __call__(self, x, mask):
        block = nn.remat(Block, prevent_cse=False) if self.remat else Block
        options = {"variable_axes": {"params": 0}, "split_rngs": {"params": True}, "in_axes": nn.broadcast}
        blocks = nn.scan(block, length=self.layers, **options)(self.heads, name="blocks")  # one name, with remat or not
        x, _ = blocks(x, jnp.asarray(mask)[None, None])
        return nn.LayerNorm()(x)


class Captioner(nn.Module):
    """Logits `[B, L, V]` float32: of each token of a caption, from the picture and the tokens before it.

    Attributes:
      vocabulary: V.
      width: d; `heads` must divide it.
      hidden: of the projector.

    Called with features `[B, grid, grid, features]`, captions `[B, L]` int32, negative where nothing is told, and the
    number of visual tokens, the square of a whole number.
    """

    vocabulary: int
    width: int
    layers: int
    heads: int
    hidden: int
    remat: bool = False

    @nn.compact
    def __call__(self, features, captions, budget: int):
        length, channels = captions.shape[1], features.shape[-1]
        create = functools.partial(TokenFlex.create, width=channels, hidden=self.hidden, out=self.width)
        visual = Layer(create, name="projector")(features, budget)
        places = self.param("places", _PLACES, (*features.shape[1:3], self.width))
        visual = visual + adaptive_pool(places[None], math.isqrt(budget)).reshape(1, budget, self.width)

        before = jnp.pad(captions[:, :-1], ((0, 0), (1, 0)), constant_values=-1)
        table = self.param("embedding", _START, (self.vocabulary, self.width))
        told = jnp.where(before[..., None] >= 0, table[jnp.maximum(before, 0)], 0)
        text = told + self.param("positions", _START, (length, self.width))[None]

        x = jnp.concatenate([visual, text], axis=1)
        x = Decoder(self.layers, self.heads, self.remat, name="decoder")(x, prefix_mask(budget, length))
        return jnp.einsum("bld,vd->blv", x[:, budget:], table, preferred_element_type=jnp.float32)


def tell(model: Captioner, weights: Any, features, captions, budget: int, dtype: str) -> jax.Array:
    """The model's logits with features and weights, kept in float32, rounded to a dtype."""
    narrow = jax.tree.map(lambda leaf: leaf.astype(dtype), weights)
    return model.apply({"params": narrow}, features.astype(dtype), captions, budget)


def sums(logits, captions) -> dict[str, jax.Array]:
    """Of each caption, `[B]`, summed over its tokens: cross entropy `loss`, nats, and how many are told right."""
    there = captions >= 0
    labels = jnp.maximum(captions, 0)
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    right = (logits.argmax(axis=-1) == labels) & there
    return {"loss": jnp.where(there, losses, 0).sum(axis=1), "correct": right.sum(axis=1).astype(jnp.float32)}


def decays(weights: Any) -> Any:
    """Which parameters decay, as a tree of bool."""
    return jax.tree_util.tree_map_with_path(lambda path, _: path[-1].key in _DECAYED, weights)
