"""Generalized mean pooling with learned exponents: GeM, one for all or each channel; GGeM, one for a group of channels.

M_p(x) = (mean max(x, eps)^p)^(1/p): the mean at p = 1, the maximum as p grows. Negative activations are clamped, not
reflected: a layer whose features are centred, as behind a LayerNorm, loses half of its signal. `shift="min"` measures
each channel from its smallest element of the map instead and adds that back. Source: `radenovic:19` for GeM, `ko:21`
for learned exponents away from 0; groups that are a vision transformer's heads, p = 3 at the start and eps = 1e-6 of
GGeM are recalled. Guarantee: `window_bounds.power_mean_gap` (T1); dM/dp >= 0.

Letters: `B` maps, `S` axes, `C` channels, `G` groups of channels.
"""

import functools
from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from research.core import validate
from research.core.types import Array, Bool, Float, Key
from research.pooling.operator import Operator
from research.pooling.windows import window_pool

__all__ = ["SMALLEST", "GGeM", "GeM", "bounded_power", "example", "gem_pool", "inverse_bounded_power"]

#: p stays above: 1 / p and its derivative have no bound at 0, although the mean has a limit there.
SMALLEST = 1e-2


def bounded_power(theta: Float[Array, "..."], smallest: float = SMALLEST) -> Float[Array, "..."]:
    """p = smallest + softplus(theta), for a learned theta in (-inf, inf)."""
    return smallest + jax.nn.softplus(theta)


def inverse_bounded_power(p: float, smallest: float = SMALLEST) -> float:
    """The theta of a p > smallest; raises ValueError for others."""
    validate.require(p > smallest, "p", f"be > {smallest:g}", p)
    return float(p - smallest + np.log(-np.expm1(smallest - p)))


def gem_pool(
    x: Float[Array, "B *S C"], p: float | Float[Array, "..."], window: int | Sequence[int] | None = None,
    strides: int | Sequence[int] | None = None, padding: str = "VALID", *, mask: Bool[Array, "B *S"] | None = None,
    eps: float = 1e-6, shift: str | None = None,
) -> Float[Array, "B *O C"]:  # fmt: skip
    """Power mean of every window, or of the whole map.

    Args:
      p: one number, one per channel `[C]`, or one per group `[G]` of C / G neighbouring channels.
      window: as in `window_pool`; None for the whole map, whose axes have length 1 in the result.
      eps: smallest element, > 0.
      shift: None, or "min": y = m + M_p(x - m) with m + eps the smallest element of the map and the channel.

    Raises ValueError where C is no multiple of G, for another shift, and for what `window_pool` refuses.
    """
    validate.one_of("shift", shift, (None, "min"))
    channels = x.shape[-1]
    if np.ndim(p) == 1:
        groups = np.shape(p)[0]
        validate.require(channels % groups == 0, "p", f"have a length that divides {channels} channels", groups)
        p = jnp.repeat(p, channels // groups, total_repeat_length=channels)
    axes = tuple(range(1, x.ndim - 1))
    pool = functools.partial(
        window_pool, kind="power", window=x.shape[1:-1] if window is None else window,
        strides=strides, padding=padding, params={"p": p, "eps": eps}, mask=mask,
    )  # fmt: skip
    if shift is None:
        return pool(x)
    inside = x if mask is None else jnp.where(mask[..., None], x, jnp.inf)
    lowest = inside.min(axis=axes, keepdims=True)
    if mask is not None:
        lowest = jnp.where(mask[..., None].any(axis=axes, keepdims=True), lowest, 0)
        x = jnp.where(mask[..., None], x, lowest)
    return pool(x - lowest + eps) + (lowest - eps)  # the smallest element is at eps, where clamping changes nothing


class GeM(eqx.Module):
    """Power mean with a learned exponent: theta is `[]`, or `[C]` for one per channel."""

    theta: Float[Array, "..."]
    window: tuple[int, ...] | int | None = eqx.field(static=True, default=None)
    strides: tuple[int, ...] | int | None = eqx.field(static=True, default=None)
    padding: str = eqx.field(static=True, default="VALID")
    eps: float = eqx.field(static=True, default=1e-6)
    shift: str | None = eqx.field(static=True, default=None)

    @classmethod
    def create(cls, key: Key = None, channels: int | None = None, p: float = 3.0, **options) -> "GeM":
        """One exponent, or one per channel; nothing is drawn."""
        del key
        return cls(jnp.full(() if channels is None else (channels,), inverse_bounded_power(p)), **options)

    @property
    def p(self) -> Float[Array, "..."]:
        """The exponents, > SMALLEST."""
        return bounded_power(self.theta)

    def __call__(self, x: Float[Array, "B *S C"], mask: Bool[Array, "B *S"] | None = None) -> Float[Array, "B *O C"]:
        return gem_pool(x, self.p, self.window, self.strides, self.padding, mask=mask, eps=self.eps, shift=self.shift)


class GGeM(GeM):
    """Power mean with one learned exponent for every group of channels, theta `[G]`: as many groups as heads."""

    @classmethod
    def create(cls, key: Key = None, groups: int = 1, p: float = 3.0, **options) -> "GGeM":
        """Exponents of all groups equal; raises ValueError for groups < 1."""
        del key
        validate.at_least("groups", groups, 1)
        return cls(jnp.full((groups,), inverse_bounded_power(p)), **options)


def example(key: Key) -> dict[str, Operator]:
    """GeM and GGeM on collections with padding."""
    x = jax.random.uniform(key, (2, 4, 4), minval=0.2, maxval=2.0)
    mask = jnp.arange(4)[None] < jnp.array([4, 3])[:, None]
    claims = ("permutation", "idempotent", "homogeneous", "monotone", "min_max")

    def apply(params, x, mask):
        return params(x, mask)[:, 0]

    modules = {"gem": GeM.create(channels=4), "ggem": GGeM.create(groups=2, p=2.0)}
    formula = "(mean max(x, eps)^p)^(1/p), p learned"
    operators = {
        name: Operator(apply, module, x, formula, "radenovic:19, GeM", mask=mask, invariants=claims, positive=True)
        for name, module in modules.items()
    }
    shifted = GeM.create(p=2.0, shift="min")
    operators["gem_shifted"] = Operator(
        apply, shifted, x - 1, "min + M_p(x - min)", "departure from radenovic:19", mask=mask,
        invariants=("permutation", "idempotent", "shift", "min_max"),
    )  # fmt: skip
    return operators
