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
    alike = jax.lax.map(lambda label: (labels == label).sum() - 1, labels, batch_size=block)
    # The nearest are taken one after another: rows that are sorted take a TPU's compiler longer than the network.
    last = jnp.minimum(jnp.maximum(alike.max(), max(RECALLS)), len(embeddings) - 1)

    def one(at):
        same, others = (labels == labels[at]) & (places != at), alike[at]

        def nearest(rank, carry):
            far, hits, total, recalls = carry
            found = jnp.argmin(far)
            hit = same[found]
            hits = hits + hit
            total = total + jnp.where(hit & (rank <= others), hits / rank, 0)
            recalls = {k: seen | (hit & (rank <= k)) for k, seen in recalls.items()}
            return far.at[found].set(jnp.inf), hits, total, recalls

        far = jnp.where(places == at, jnp.inf, -(embeddings @ embeddings[at]))
        carry = (far, jnp.int32(0), jnp.float32(0), dict.fromkeys(RECALLS, jnp.bool_(False)))
        _, _, total, recalls = jax.lax.fori_loop(1, last + 1, nearest, carry)
        found = {f"recall_{k}": seen.astype(jnp.float32) for k, seen in recalls.items()}
        return found | {"map_r": total / jnp.maximum(others, 1)}

    found, asks = jax.lax.map(one, places, batch_size=block), alike > 0
    return {name: jnp.where(asks, value, 0).sum() / jnp.maximum(asks.sum(), 1) for name, value in found.items()}
