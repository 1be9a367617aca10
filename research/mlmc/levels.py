"""The law of a node's level: geometric, drawn with integers alone.

P(N = n) is r (1 - r)**n up to a rounding of 2**-33 per entry of a table of thresholds T_n = round((1 - r)**n 2**32),
n = 0, ..., n1, where T_n1 is the last one of at least `cut`. A word w counts m = #{1 <= n <= n1 : w < T_n}; where
m = n1, the geometric law starts afresh and the next word goes on. Weights use the law of the table itself,
p_n = q_n1**a (q_b - q_{b+1}) with n = a n1 + b and q_n = T_n / 2**32, so that an estimator is unbiased for the levels
that are drawn, on every machine, and no logarithm is taken.

Systematic levels, for the outermost nodes, are the quantiles of a shifted grid: see `systematic`.
"""

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from research.core import validate
from research.core.types import Array, Bool, Float, Int, UInt
from research.mlmc.words import Words

__all__ = ["WORDS", "Geometric", "Table", "draw", "systematic", "tabulate"]

#: Words that `draw` has; a third one is needed about once in 2**40 nodes, and is flagged.
WORDS = 2
_SYSTEMATIC = 32


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

    stop = last  # where another word is drawn

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


class Table(eqx.Module):
    """Several laws as arrays of one size, so that one compiled program serves all of them: a row is taken by index,
    `jax.tree.map(lambda x: x[i], table)`, and stands for a `Geometric`. Made by `tabulate`.
    """

    counted: UInt[Array, "... L"]  # T_1, ..., T_n1, then zeros, which no word is below
    stop: Int[Array, "..."]  # n1
    mass: Float[Array, "... 2L"]  # P(N = n)
    survival: Float[Array, "... 2L"]  # P(N >= n)

    @property
    def last(self) -> int:
        """The largest n1 of all laws."""
        return self.counted.shape[-1]

    @property
    def thresholds(self) -> tuple[Any, ...]:
        return (None, *(self.counted[..., i] for i in range(self.last)))

    def table(self, length: int) -> Float[Array, " N"]:
        return self.mass[..., :length]

    def tails(self, length: int) -> Float[Array, " N"]:
        return self.survival[..., :length]


def tabulate(rates: Sequence[float], dtype: Any = jnp.float32) -> Table:
    """The laws of several r, `[len(rates), ...]`; the draws are those of the single laws, to the bit.

    Raises: ValueError as `Geometric` does.
    """
    laws = [Geometric(r) for r in rates]
    width = max(law.last for law in laws)
    counted = [[*law.thresholds[1:], *(0,) * (width - law.last)] for law in laws]
    mass, survival = ([function(law, 2 * width) for law in laws] for function in (Geometric.table, Geometric.tails))
    return Table(
        jnp.asarray(counted, jnp.uint32), jnp.asarray([law.last for law in laws], jnp.int32),
        jnp.asarray(np.array(mass), dtype), jnp.asarray(np.array(survival), dtype),
    )  # fmt: skip


def draw(law: Geometric | Table, words: Words) -> tuple[Int[Array, " N"], Bool[Array, " N"]]:
    """Levels from two words each.

    Returns:
      levels in 0, ..., 2 n1; and whether a third word is needed, in which case the level is a lower bound.
    """

    def counted(word):
        below = [(word < jnp.asarray(threshold, jnp.uint32)).astype(jnp.int32) for threshold in law.thresholds[1:]]
        return functools.reduce(jnp.add, below)

    first, second = counted(words[0]), counted(words[1])
    again = first == law.stop
    return jnp.where(again, first + second, first), again & (second == law.stop)


def systematic(r: float, size: int, word: UInt[Array, ""]) -> tuple[Int[Array, " N"], Bool[Array, " N"]]:
    """The levels of `size` roots from one word: N_i = F^-1((i + u)/size) with u = word / 2**32, i = 0, ..., size - 1.

    Node i has a level of n or less as long as i + u < size - size (1 - r)**(n + 1), which is asked in integers: in
    floating point 1 - (i + u)/size may round to 0, a level of infinity. The bounds themselves are rounded to 2**-32.

    Returns:
      levels in 0, ..., 31, not decreasing; and whether the level is beyond that.
    """
    upto = [math.floor(size * (1 - (1 - r) ** (n + 1)) * 2.0**32) for n in range(_SYSTEMATIC)]
    whole, rest = np.array(upto) >> 32, (np.array(upto) & 0xFFFFFFFF).astype(np.uint32)
    bound = jnp.asarray(whole, jnp.int32) + (word < jnp.asarray(rest)).astype(jnp.int32)
    index = jnp.arange(size, dtype=jnp.int32)
    level = functools.reduce(jnp.add, [(index >= bound[n]).astype(jnp.int32) for n in range(_SYSTEMATIC)])
    return level, level == _SYSTEMATIC
