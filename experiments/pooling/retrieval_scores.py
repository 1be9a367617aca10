"""How well embeddings retrieve their own class: recall at 1, 2, 4 and 8, and MAP@R, exactly.

Source: `musgrave:20` for MAP@R and why recall at 1 alone hides much.
"""

import jax
import jax.numpy as jnp

from research.core import validate as checks

__all__ = ["RECALLS", "scores"]

RECALLS = (1, 2, 4, 8)


def scores(embeddings: jax.Array, labels: jax.Array, *, block: int = 128) -> dict[str, jax.Array]:
    """Every picture asks for those like it among all others, by inner product; equal ones are in their order.

    Args:
      embeddings: `[n, D]` of length 1.
      labels: `[n]`.
      block: so many ask at a time: `[block, n]` is the largest array.

    Returns:
      means over the pictures whose class has another one, in [0, 1] (0 if there is none): `recall_k`, whether one of
      the k nearest is of the class; `map_r`, with R others of the class, the sum over those of the R nearest that are
      of the class of the precision up to there, over R.

    Raises: ValueError for shapes that are not those.
    """
    checks.require(jnp.ndim(embeddings) == 2, "embeddings", "have shape (n, D)", jnp.shape(embeddings))
    checks.shape("labels", labels, (len(embeddings),))
    places = jnp.arange(len(embeddings))

    def one(at):
        far = jnp.where(places == at, jnp.inf, -(embeddings @ embeddings[at]))
        same = (labels == labels[at]) & (places != at)
        _, same = jax.lax.sort((far, same.astype(jnp.int32)), num_keys=1, is_stable=True)
        others, ranks = same.sum(), places + 1
        precision = jnp.where(ranks <= others, same * jnp.cumsum(same) / ranks, 0).sum() / jnp.maximum(others, 1)
        recalls = {f"recall_{k}": same[:k].any().astype(jnp.float32) for k in RECALLS}
        return recalls | {"map_r": precision.astype(jnp.float32)}, others > 0

    found, asks = jax.lax.map(one, places, batch_size=block)
    return {name: jnp.where(asks, value, 0).sum() / jnp.maximum(asks.sum(), 1) for name, value in found.items()}
