"""Guarantees of stochastic, bilinear and robust pooling and of the configuration search, as functions.

T13 `smoothed_max_bias`, T17 `full_rank`, T19 `breakdown`, `geometric_median_error`, `coordinate_error` and
`flag_length`, T21 `balance_rate`. T17's construction is `bilinear.separating`.
Source: at each function; those without a key are proved in their docstring.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from research.core import validate as checks
from research.core.types import Array, Float

__all__ = [
    "Bias", "balance_rate", "breakdown", "coordinate_error", "flag_length", "full_rank", "geometric_median_error",
    "hilbert_distance", "smoothed_max_bias",
]  # fmt: skip


class Bias(NamedTuple):
    """Of an estimate of the smoothed maximum: E[estimate] less the true value."""

    lower: Float[Array, "..."]  # it is at least this
    upper: Float[Array, "..."]  # and at most this, 0: Jensen's inequality
    leading: Float[Array, "..."]  # first term in the relative variance of the estimated mean


def smoothed_max_bias(scores: Float[Array, "*B N"], temperature, batch, averaging=1.0, step=None) -> Bias:
    """Bias of tau log u (T13), u an exponential moving average of minibatch means of exp(score / tau).

    u is unbiased for the bag's mean m with relative variance V = c C / B, C that of exp(score / tau) over the bag, c
    the factor of averaging: gamma / (2 - gamma), plus what is left of the first minibatch. For x = u / m, log x lies
    below x - 1, which gives `upper`; and above x - 1 - q(x0) (x - 1)^2 for x >= x0, q(x) = (x - 1 - log x) / (x - 1)^2
    decreasing and x0 = min exp(score / tau) / m a lower limit of x, which gives `lower`. q(1) = 1/2 gives `leading`.

    Args:
      scores: fixed while the average forms.
      batch: B <= N, instances per minibatch, drawn without replacement, independently from step to step.
      averaging: gamma in (0, 1]; 1 for the minibatch alone.
      step: updates after the first visit; None for the limit of many.

    Source: Jensen's inequality is what `zhu:23` start from; the two-sided bound is proved above.
    """
    checks.positive("temperature", temperature)
    size = scores.shape[-1]
    checks.in_range("batch", batch, 1, size)
    checks.require(
        not checks.is_concrete(averaging) or bool(np.all((np.asarray(averaging) > 0) & (np.asarray(averaging) <= 1))),
        "averaging", "lie in (0, 1]", averaging,
    )  # fmt: skip
    scaled = scores / temperature
    relative = jnp.exp(scaled - scaled.max(axis=-1, keepdims=True))
    relative = relative / relative.mean(axis=-1, keepdims=True)
    # Of a mean of B draws without replacement: population variance, (N - B) / (N - 1) / B.
    draws = (size - batch) / (max(size - 1, 1) * batch)
    kept = averaging / (2 - averaging)
    factor = kept if step is None else kept + (1 - averaging) ** (2 * step) * (1 - kept)
    spread = jnp.mean((relative - 1) ** 2, axis=-1) * draws * factor
    least = jnp.minimum(relative.min(axis=-1), 1 - 1e-6)
    curvature = (least - 1 - jnp.log(least)) / (least - 1) ** 2
    return Bias(-temperature * curvature * spread, jnp.zeros_like(spread), -temperature * spread / 2)


def full_rank(num_entities: int, num_relations: int) -> int:
    """Rank with which low-rank bilinear pooling expresses every set of triples of one-hot entities and relations (T17).

    min(E, R). It cannot be lower for all sets: a tail whose truth matrix has that rank is no sum of fewer products.
    Source: `amin:20`, proposition 1.
    """
    checks.at_least("num_entities", num_entities, 1)
    checks.at_least("num_relations", num_relations, 1)
    return min(num_entities, num_relations)


def breakdown(kind: str, number: int, trim: int = 0) -> int:
    """Fewest bad vectors out of N that can move the result without limit (T19).

    Half of them for the medians, f + 1 for the mean without f on each side, one for the mean.
    Source: `lopuhaa:91` for the geometric median; order statistics for the others.
    """
    checks.one_of("kind", kind, ("mean", "median", "trimmed_mean", "geometric_median"))
    checks.at_least("number", number, 1)
    return {"mean": 1, "trimmed_mean": trim + 1}.get(kind, (number + 1) // 2)


def geometric_median_error(number: int, bad: int, radius: float | Array) -> float | Array:
    """Distance of the geometric median from any point that all but f of N vectors lie within `radius` of (T19).

    At most (1 - a) / sqrt(1 - 2 a) times the radius, a = f / N < 1/2; infinite from half on. f = 0 gives the radius.
    Source: `minsker:15`, Lemma 2.1, in a Hilbert space.
    """
    share = bad / number
    safe = jnp.minimum(share, 0.5 - 1e-9)
    return jnp.where(2 * bad < number, (1 - safe) / jnp.sqrt(1 - 2 * safe), jnp.inf) * radius


def coordinate_error(honest: Float[Array, "*B N D"], center: Float[Array, "*B D"]) -> Float[Array, "*B"]:
    """Distance of the coordinate median (f < N/2), or of the mean trimmed by at least f, from `center` (T19).

    Every coordinate stays within the range of the honest vectors: the f + 1-st smallest value is not below the smallest
    honest one. So it is off by at most the largest honest deviation, coordinate by coordinate.
    """
    return jnp.linalg.norm(jnp.abs(honest - center[..., None, :]).max(axis=-2), axis=-1)


def flag_length(number: int, rank: int) -> float:
    """Longest possible result of the flag aggregator without rescaling: N / r, a sum of N projected unit vectors."""
    return number / rank


def hilbert_distance(p: Float[Array, "A M"], q: Float[Array, "A M"]) -> Float[Array, ""]:
    """Between two positive matrices that differ by scaling rows and columns: the width of the scaling of columns.

    log (max / min) over columns of the ratio p / q, taken within the first row: rows of both sum to 1, so that the
    scaling of rows follows. Zero only for equal ones.
    """
    ratio = jnp.log(p[0]) - jnp.log(q[0])
    return ratio.max() - ratio.min()


def balance_rate(p: Float[Array, "A M"]) -> Float[Array, ""]:
    """Factor by which a sweep of balancing shrinks the `hilbert_distance` to the balanced matrix (T21).

    tanh(D / 4)^2, D the projective diameter: the largest log of p_am p_bn / (p_an p_bm). A sweep scales columns, then
    rows, and each of the two maps is a contraction by tanh(D / 4); scaling leaves D as it is. So the balanced matrix
    exists, is unique, and is approached geometrically from any positive one.
    Source: `franklin:89`, by Birkhoff's contraction coefficient.
    """
    logs = jnp.log(p)
    apart = logs[:, None] - logs[None]  # rows a against b, by column
    return jnp.tanh((apart.max(axis=-1) - apart.min(axis=-1)).max() / 4) ** 2
