"""When to anchor, when to refresh, how much to draw: the schedules of Algorithm 1, and the certificate of its step.

The certificate is a number: `page_margin` <= 1 proves `research.halpern.bounds.page_residual`. It is linear in
step_size * L, so that the largest certified step is its reciprocal.
Source: `cai:24`, Algorithm 1 and its experiments; the certificate is our own, from the potential
A_k |w_k|^2 + B_k <w_k, u_k - u_0> + a_k |estimate_k - F(u_k)|^2 with w_k = F(u_k) + g_k.

Letters: `n` components, `b` draws of a batch, `k` the iteration that uses an estimate, from 0.
"""

import functools
import math
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from research.core import validate as checks
from research.core.types import Array, Float, Int

__all__ = [
    "Refresh", "batch_size", "certified_limit", "halpern_anchor", "page_anchor", "page_margin", "page_refresh",
    "refresh_probability",
]  # fmt: skip

#: The certificate tries this many shares of Young's inequality.
_SHARES = np.geomspace(0.05, 4.0, 40)


class Refresh(NamedTuple):
    """Probability of a full evaluation: 1 at k = 0 and 1, then max(decay / (k + 4), floor), at most 1."""

    decay: float | Float[Array, ""]  # > 0
    floor: float | Float[Array, ""]  # in (0, 1]


def page_anchor(k: Int[Array, "..."] | int):
    """Weight of the anchor at iteration k of Algorithm 1, in (0, 1/2]: 2 / (k + 4)."""
    return 2 / (k + 4)


def halpern_anchor(k: Int[Array, "..."] | int):
    """Weight of the anchor at iteration k of the classical iteration and of Algorithm 2, in (0, 1/2]: 1 / (k + 2)."""
    return 1 / (k + 2)


def page_refresh(num_components: int) -> Refresh:
    """The paper's: 4 / (k + 4) until k - 1 > sqrt(n), from then 4 / (sqrt(n) + 5). Always 1 for n <= 3."""
    checks.at_least("num_components", num_components, 1)
    if num_components <= 3:
        return Refresh(4.0, 1.0)
    return Refresh(4.0, 4 / (math.sqrt(num_components) + 5))


def refresh_probability(k: Int[Array, "..."] | int, refresh: Refresh):
    """Probability of a full evaluation at iteration k, in (0, 1]."""
    probability = jnp.minimum(jnp.maximum(refresh.decay / (k + 4), refresh.floor), 1.0)
    return jnp.where(jnp.asarray(k) <= 1, 1.0, probability)


def batch_size(num_components: int, *, certified: bool = True) -> int:
    """Draws of a batch: ceil(sqrt(n)) is certified for all n; the paper's floor(sqrt(n)) is not at n = 6, 7, 8."""
    checks.at_least("num_components", num_components, 1)
    root = math.isqrt(num_components)
    return root + (certified and root * root < num_components)


def page_margin(
    num_components: int,
    batch: int | np.ndarray,
    scaled_step: float,
    *,
    refresh: Refresh | None = None,
    probabilities: np.ndarray | None = None,
    replace: bool = True,
) -> float:
    """Margin of Algorithm 1's certificate: at most 1 where the bound is proved. Linear in `scaled_step`.

    A function of host numbers: the recursion runs backwards over K = max(400, 60 sqrt(n)) iterations, or as many as are
    given, beyond which both schedules are nearly constant.

    Args:
      batch: b >= 1; or an array `[K + 2]`, b_k of every iteration.
      scaled_step: step_size * L, > 0.
      refresh: None for the paper's.
      probabilities: `[K + 2]` of full evaluations, in (0, 1], instead of `refresh`.
      replace: independent draws; False for distinct ones, uniform, which vary less.

    Raises:
      ValueError naming the argument out of range.
    """
    checks.at_least("num_components", num_components, 1)
    checks.positive("scaled_step", scaled_step)
    checks.at_least("batch", batch, 1)
    if not replace:
        checks.in_range("batch", batch, 1, num_components)
    if probabilities is None and np.ndim(batch) == 0:
        chosen = page_refresh(num_components) if refresh is None else Refresh(*(float(x) for x in refresh))
        checks.positive("refresh.decay", chosen.decay)
        checks.in_range("refresh.floor", chosen.floor, np.finfo(np.float64).tiny, 1)
        return scaled_step * _margin_per_step(num_components, int(batch), chosen, replace)
    if probabilities is None:
        raise ValueError("probabilities must be given with an array of batches, got None.")
    p = np.asarray(probabilities, np.float64)
    checks.at_least("length of probabilities", len(p), 3)
    checks.in_range("probabilities", p, np.finfo(np.float64).tiny, 1)
    b = np.broadcast_to(np.asarray(batch, np.float64), p.shape)
    return scaled_step * _margin(p, _variance(num_components, b, replace))


def certified_limit(num_components: int, batch: int, *, refresh: Refresh | None = None) -> float:
    """The largest step_size * L that is certified for Algorithm 1 with independent draws, in (0, 1]."""
    return min(1.0, 1.0 / page_margin(num_components, batch, 1.0, refresh=refresh))


def _variance(n, b, replace):
    return 1 / b if replace else (n - b) / (b * max(n - 1, 1))


@functools.lru_cache(maxsize=256)
def _margin_per_step(n, b, refresh, replace):
    last = max(400, math.ceil(60 * math.sqrt(n)))
    k = np.arange(last + 2)
    p = np.where(k <= 1, 1.0, np.minimum(np.maximum(refresh.decay / (k + 4), refresh.floor), 1.0))
    if b >= n:
        p = np.ones(last + 2)  # then every iteration evaluates in full
    return _margin(p, np.full(last + 2, _variance(n, b, replace)))


def _margin(p, variance):
    """Of step_size * L = 1, from p_k and the variance factor v_k of a batch, both over k = 0, ..., K + 1."""
    last = len(p) - 2
    k = np.arange(last + 2, dtype=np.float64)
    kept = (k + 3) * (k + 4) * (k + 6) / 4  # T_k
    room = (k + 2) * (k + 3) * (k + 4) / 2  # R_k
    weight = np.empty(last + 2)  # a_k / (1 + 1/s)
    weight[last + 1] = following = 1.2 * kept[last] / p[last]
    for i in range(last, 0, -1):
        weight[i] = following = following * (1 - p[i + 1]) + (kept[i] if p[i] < 1 else 0.0)
    inside = slice(1, last + 1)
    ratio = kept[inside] / room[inside]
    estimated = p[inside] < 1
    carried = np.max(weight[2 : last + 2] * (1 - p[2 : last + 2]) * variance[2 : last + 2] / room[inside])
    own = np.max(np.where(estimated, ratio * (1 + _SHARES[:, None]), ratio), axis=1)
    return float(np.min(np.maximum(own, (1 + 1 / _SHARES) * carried)))
