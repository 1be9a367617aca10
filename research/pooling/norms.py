"""What normalisations of several operators have in common: moments in float32 at least."""

import jax
import jax.numpy as jnp

from research.core.types import Array, Float

__all__ = ["EPSILON", "standardized"]

#: Added to variances.
EPSILON = 1e-5


def standardized(x: Float[Array, "..."], axes: int | tuple[int, ...]) -> Float[Array, "..."]:
    """(x - mean) / sqrt(var + `EPSILON`) over some axes, in float32 at least."""
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    centred = wide - jnp.mean(wide, axis=axes, keepdims=True)
    return centred * jax.lax.rsqrt(jnp.mean(jnp.square(centred), axis=axes, keepdims=True) + EPSILON)
