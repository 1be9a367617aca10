"""Generalized norm-based pooling, G_pq = n^-q (sum_i (|x_i| + eps)^p)^(1/p), with p and q learned.

(p, q) = (1, 0) is the sum, (1, 1) the mean, (2, 1/2) the root mean square, (-1, -1) the harmonic mean, (50, 0) nearly
the largest element and (-50, 0) nearly the smallest: one law recovers many pools and extrapolates with them. Source:
`ko:21`; its reparametrisation of p is recalled, ours is p = +-min(softplus(theta), 50). With two branches and a linear
mix (p, q) are redundant: a single branch converges to the true law, two need not.

Letters: `G` sets, `D` channels.
"""

import equinox as eqx
import jax
import jax.numpy as jnp

from research.core import validate as checks
from research.core.types import Array, Float, Key
from research.pooling.operator import Operator
from research.pooling.sets import SMALLEST_POWER, set_pool

__all__ = ["GNP", "LARGEST_POWER", "Branch", "example", "law"]

#: |p| at most: beyond, powers of a factor 2 between elements no longer fit a float32, and max is as near as rounding.
LARGEST_POWER = 50.0


class Branch(eqx.Module):
    """G_pq on all channels, with p of one sign: theta and q are `[]` or `[D]`."""

    theta: Float[Array, "..."]
    q: Float[Array, "..."]
    sign: int = eqx.field(static=True, default=1)

    @classmethod
    def create(cls, shape: tuple[int, ...] = (), sign: int = 1) -> "Branch":
        """p = sign, q = 1/2."""
        checks.one_of("sign", sign, (1, -1))
        return cls(jnp.full(shape, jnp.log(jnp.expm1(1.0))), jnp.full(shape, 0.5), sign)

    @property
    def p(self) -> Float[Array, "..."]:
        """In [1e-3, 50] times the sign: no gradient reaches theta beyond either end."""
        return self.sign * jnp.clip(jax.nn.softplus(self.theta), SMALLEST_POWER, LARGEST_POWER)

    def __call__(self, x: Array, mask=None, *, eps: float = 1e-6, **layout) -> Float[Array, "G D"]:
        return set_pool(x, "gnp", mask=mask, params={"p": self.p, "q": self.q, "eps": eps}, **layout)


class GNP(eqx.Module):
    """Half the channels with p > 0, half with p < 0, then a linear map."""

    rising: Branch
    falling: Branch
    mix: Float[Array, "D E"]

    @classmethod
    def create(cls, key: Key, dim: int, outputs: int | None = None) -> "GNP":
        """Raises ValueError for an odd number of channels."""
        checks.require(dim >= 2 and dim % 2 == 0, "dim", "be even and >= 2", dim)
        mix = jax.random.uniform(key, (dim, outputs or dim), minval=-(dim**-0.5), maxval=dim**-0.5)
        return cls(Branch.create((dim // 2,)), Branch.create((dim // 2,), -1), mix)

    def __call__(self, x: Array, mask=None, **layout) -> Float[Array, "G E"]:
        x, half = x.astype(jnp.promote_types(x.dtype, jnp.float32)), x.shape[-1] // 2
        pooled = (self.rising(x[..., :half], mask, **layout), self.falling(x[..., half:], mask, **layout))
        return jnp.concatenate(pooled, axis=-1) @ self.mix


def law(name: str) -> tuple[float, float]:
    """(p, q) of a pool that GNP contains. Raises ValueError for another name."""
    laws = {
        "sum": (1.0, 0.0), "mean": (1.0, 1.0), "l2": (2.0, 0.0), "rms": (2.0, 0.5), "sum/sqrt n": (1.0, 0.5),
        "harmonic": (-1.0, -1.0), "max": (LARGEST_POWER, 0.0), "min": (-LARGEST_POWER, 0.0),
    }  # fmt: skip
    checks.one_of("name", name, tuple(laws))
    return laws[name]


def example(key) -> dict[str, Operator]:
    """Three sets of up to five elements, four channels."""
    of_x, of_module = jax.random.split(key)
    x = jax.random.normal(of_x, (3, 5, 4))
    mask = jnp.arange(5)[None] < jnp.array([5, 3, 1])[:, None]
    formula = "W [G_pq(x), G_p'q'(x)], G_pq = n^-q (sum_i (|x_i| + eps)^p)^(1/p)"
    apply = GNP.__call__
    return {
        "gnp_module": Operator(
            apply, GNP.create(of_module, 4), x, formula, "ko:21", "pooling/fig_law", mask, ("permutation",)
        )
    }
