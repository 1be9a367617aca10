"""Multi-layer trainable pooling: latent queries attend over the mean hidden state of every layer of a model.

    h_l = masked mean over tokens of layer l, plus a learned embedding of l                   [L, D]
    z   = Attn(LN(latents) -> LN(h)) + latents;  z = GEGLU-FF(LN(z)) + z;  y = mean over latents, divided by its norm

The variant over the last layer attends over that layer's tokens instead; padded ones are masked here, which the release
does not do. Linear maps have no biases. Source: `tang:24`; sizes of the release: 768 latents, 32 heads of
2048, feed-forward 4 times as wide.

Letters: `B` sequences, `L` layers without the input embeddings, `T` tokens, `D` channels, `R` latents, `H` heads of
width `E`, `M` hidden units of the feed-forward.
"""

import equinox as eqx
import jax
import jax.numpy as jnp

from research.core import validate as checks
from research.core.types import Array, Bool, Float, Key
from research.pooling.norms import standardized
from research.pooling.operator import Operator
from research.pooling.sets import set_pool
from research.pooling.tokens import normalized

__all__ = ["LayerPool", "Norm", "example", "layer_pool"]

VARIANTS = ("layers", "last")


class Norm(eqx.Module):
    """Layer normalisation of D channels: scale and offset."""

    scale: Float[Array, " D"]
    offset: Float[Array, " D"]

    @classmethod
    def create(cls, width: int) -> "Norm":
        """Scale 1, offset 0."""
        return cls(jnp.ones(width), jnp.zeros(width))

    def __call__(self, x: Float[Array, "... D"]) -> Float[Array, "... D"]:
        scale, offset = (jnp.broadcast_to(each, x.shape) for each in (self.scale, self.offset))
        return (standardized(x, -1) * scale + offset).astype(x.dtype)


class LayerPool(eqx.Module):
    """Parameters of `layer_pool`."""

    latents: Float[Array, "R D"]
    layer_embedding: Float[Array, "L D"]
    query_norm: Norm
    context_norm: Norm
    query: Float[Array, "D H*E"]
    key: Float[Array, "D H*E"]
    value: Float[Array, "D H*E"]
    out: Float[Array, "H*E D"]
    hidden_norm: Norm
    expand: Float[Array, "D 2M"]
    contract: Float[Array, "M D"]
    heads: int = eqx.field(static=True)
    variant: str = eqx.field(static=True)

    @classmethod
    def create(
        cls, key: Key, layers: int, width: int, *, latents: int = 768, heads: int = 32, head_width: int = 2048,
        factor: int = 4, variant: str = "layers",
    ) -> "LayerPool":  # fmt: skip
        """Latents and layer embeddings N(0, 1), kernels N(0, 1 / fan-in).

        Args:
          layers: L of the hidden states that it will get; 1 for the variant "last" keeps the embedding small.
          factor: M over D.
          variant: "layers", or "last" for the tokens of the last layer.

        Raises:
          ValueError: a size < 1, or an unknown variant.
        """
        sizes = {"layers": layers, "width": width, "latents": latents, "heads": heads, "head_width": head_width}
        for name, value in sizes.items() | {("factor", factor)}:
            checks.at_least(name, value, 1)
        checks.one_of("variant", variant, VARIANTS)
        inner, hidden = heads * head_width, factor * width
        keys = iter(jax.random.split(key, 8))

        def kernel(rows, columns):
            return jax.random.normal(next(keys), (rows, columns)) / rows**0.5

        return cls(
            jax.random.normal(next(keys), (latents, width)), jax.random.normal(next(keys), (layers, width)),
            Norm.create(width), Norm.create(width), kernel(width, inner), kernel(width, inner), kernel(width, inner),
            kernel(inner, width), Norm.create(width), kernel(width, 2 * hidden), kernel(hidden, width), heads, variant,
        )  # fmt: skip

    def __call__(self, hiddens: Float[Array, "B L T D"], mask: Bool[Array, "B T"]) -> Float[Array, "B D"]:
        return layer_pool(hiddens, mask, self)


def _attend(
    params: LayerPool, context: Float[Array, "B N D"], allowed: Bool[Array, "B N"] | None
) -> Float[Array, "B R D"]:
    """Every latent's attention over the context, plus the latent."""
    batch, latents, heads = context.shape[0], params.latents.shape[0], params.heads
    normed = params.context_norm(context)
    query = (params.query_norm(params.latents) @ params.query).reshape(latents, heads, -1)
    key, value = (
        (normed @ kernel).reshape(batch, context.shape[1], heads, -1) for kernel in (params.key, params.value)
    )
    logits = jnp.einsum("rhe,bnhe->bhrn", query, key) / query.shape[-1] ** 0.5
    logits = logits.astype(jnp.promote_types(logits.dtype, jnp.float32))
    if allowed is not None:
        logits = jnp.where(allowed[:, None, None], logits, jnp.finfo(logits.dtype).min)
    weights = jax.nn.softmax(logits, axis=-1)
    if allowed is not None:  # also where no token is allowed
        weights = jnp.where(allowed[:, None, None], weights, 0)
    mixed = jnp.einsum("bhrn,bnhe->brhe", weights.astype(value.dtype), value).reshape(batch, latents, -1)
    return mixed @ params.out + params.latents[None]


def layer_pool(hiddens: Float[Array, "B L T D"], mask: Bool[Array, "B T"], params: LayerPool) -> Float[Array, "B D"]:
    """One vector of norm 1 per sequence from the hidden states of all layers, the input embeddings left out.

    An empty sequence gives 0, with zero gradients.

    Raises:
      ValueError: hidden states that are not `[B, L, T, D]` with the L and D of the parameters (any L for the variant
        "last"); a mask that is not boolean or not `[B, T]`.
    """
    layers, width = params.layer_embedding.shape
    last = params.variant == "last"
    checks.shape("hiddens", hiddens, (None, None if last else layers, None, width))
    checks.shape("mask", mask, (hiddens.shape[0], hiddens.shape[2]))
    checks.require(mask.dtype == bool, "mask", "be boolean", mask.dtype)
    if last:
        latents = _attend(params, jnp.where(mask[..., None], hiddens[:, -1], 0), mask)
    else:
        by_layer = jnp.moveaxis(hiddens, 1, 2).reshape(*mask.shape, -1)
        means = set_pool(by_layer, "mean", mask=mask).reshape(-1, layers, width)
        latents = _attend(params, means + params.layer_embedding[None], None)
    value, gate = jnp.split(params.hidden_norm(latents) @ params.expand, 2, axis=-1)
    latents = (value * jax.nn.gelu(gate, approximate=False)) @ params.contract + latents
    pooled = normalized(jnp.mean(latents, axis=1))
    return jnp.where(jnp.any(mask, axis=1)[:, None], pooled, 0)


def example(key: Key) -> dict[str, Operator]:
    """Both variants, small."""
    drawn, *keys = jax.random.split(key, 3)
    hiddens = jax.random.normal(drawn, (2, 3, 5, 4))
    mask = jnp.array([[True, False, True, True, False], [True] * 5])

    def made(key, variant, formula):
        params = LayerPool.create(key, 3, 4, latents=4, heads=2, head_width=3, variant=variant)

        def apply(params, tokens, mask):  # tokens first, as masks are
            return params(jnp.moveaxis(tokens, 2, 1), mask)

        return Operator(apply, params, jnp.moveaxis(hiddens, 1, 2), formula, "tang:24", "", mask)

    return {
        "layer pooling": made(keys[0], "layers", "latents attend over the mean token of every layer"),
        "last-layer pooling": made(keys[1], "last", "latents attend over the tokens of the last layer"),
    }
