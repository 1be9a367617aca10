"""The law of a node's level: geometric, drawn with integers alone.

P(N = n) is r (1 - r)**n up to a rounding of 2**-33 per entry of a table of thresholds T_n = round((1 - r)**n 2**32),
n = 0, ..., n1, where T_n1 is the last one of at least `cut`. A word w counts m = #{1 <= n <= n1 : w < T_n}; where
m = n1, the geometric law starts afresh and the next word goes on. Weights use the law of the table itself,
p_n = q_n1**a (q_b - q_{b+1}) with n = a n1 + b and q_n = T_n / 2**32, so that an estimator is unbiased for the levels
that are drawn, on every machine, and no logarithm is taken.

Systematic levels, for the outermost nodes, are the quantiles of a shifted grid: see `systematic_counts`.
"""

import dataclasses
import functools
import math

import jax.numpy as jnp
import numpy as np

from research.core import validate
from research.core.types import Array, Bool, Int
from research.mlmc.words import Words

__all__ = ["WORDS", "Geometric", "draw", "systematic_counts"]

#: Words that `draw` has; a third one is needed about once in 2**40 nodes, and is flagged.
WORDS = 2


@dataclasses.dataclass(frozen=True)
class Geometric:
    """The table of one level law.

    Raises:
      ValueError: r outside (1/2, 1 - 2**-20]: the cost is infinite, or levels above 0 are too rare for 32-bit words.
    """

    r: float
    cut: int = 4096  # last threshold of the table: smaller ones would have a relative rounding beyond 2**-13

    def __post_init__(self):
        allowed = isinstance(self.r, (int, float)) and 0.5 < self.r <= 1 - 2.0**-20
        validate.require(allowed, "r", "lie in (0.5, 1 - 2**-20]", self.r)

    @functools.cached_property
    def thresholds(self) -> tuple[int, ...]:
        """T_0 = 2**32, T_1, ..., T_n1."""
        tail, n = [1 << 32], 1
        while (value := math.floor((1 - self.r) ** n * 2.0**32 + 0.5)) >= self.cut:
            tail.append(value)
            n += 1
        return tuple(tail)

    @property
    def last(self) -> int:
        """n1, the most that one word can count."""
        return len(self.thresholds) - 1

    def pmf(self, n: int) -> float:
        """P(N = n)."""
        again, rest = divmod(n, self.last)
        q = self.thresholds
        return (q[-1] / 2**32) ** again * (q[rest] - q[rest + 1]) / 2**32

    def tail(self, n: int) -> float:
        """P(N >= n)."""
        again, rest = divmod(n, self.last)
        return (self.thresholds[-1] / 2**32) ** again * self.thresholds[rest] / 2**32

    def table(self, length: int) -> np.ndarray:
        """P(N = n) for n < length, float64."""
        return np.array([self.pmf(n) for n in range(length)])

    def tails(self, length: int) -> np.ndarray:
        """P(N >= n) for n < length, float64."""
        return np.array([self.tail(n) for n in range(length)])


def draw(law: Geometric, words: Words) -> tuple[Int[Array, " N"], Bool[Array, " N"]]:
    """Levels from two words each.

    Returns:
      levels in 0, ..., 2 n1; and whether a third word is needed, in which case the level is a lower bound.
    """

    def counted(word):
        below = [(word < np.uint32(threshold)).astype(jnp.int32) for threshold in law.thresholds[1:]]
        return functools.reduce(jnp.add, below)

    first, second = counted(words[0]), counted(words[1])
    again = first == law.last
    return jnp.where(again, first + second, first), again & (second == law.last)


def systematic_counts(r: float, size: int, u: float) -> np.ndarray:
    """How many of the levels N_i = F^-1((i + u)/size), i = 0, ..., size - 1, equal n, for n = 0, 1, ...: each is
    floor or ceil of size p_n, with p_n = r (1 - r)**n. Exact boundaries in float64, on the host; `u` in (0, 1).
    """
    # 1 - (i + u)/size > (1-r)**(n+1) says that node i has a level of n or less.
    counts, done, n = [], 0, 0
    while done < size:
        upto = min(size, max(done, math.ceil(size - u - size * (1 - r) ** (n + 1))))
        counts.append(upto - done)
        done, n = upto, n + 1
    return np.array(counts)
