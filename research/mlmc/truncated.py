"""Random levels that stop at a largest one: the truncated variant of READ, biased and of bounded cost.

The level of a node of depth d is geometric conditioned on N <= M_d, so that its terms telescope to the link at the mean
of 2**(b_d + M_d) children: the estimator is unbiased for nested Monte Carlo with so many inner samples, not for
gamma_0. In return a replicate costs at most the product of 2**(b_d + M_d) leaves, and has all moments of the leaf.
Source: `syed:23`, section 5, which compares with it on its first problem, with r and M of `PUBLISHED`.
"""

import dataclasses
import functools
import math
from collections.abc import Sequence

import numpy as np

from research.core import validate
from research.core.types import Array, Float, UInt
from research.mlmc import read
from research.mlmc.problems import NestedExpectation

__all__ = ["PUBLISHED", "Truncated", "expected_leaves", "largest_leaves", "replicates"]

#: r and M of the published comparison, two nestings.
PUBLISHED = ((1 - 2.0**-1.5, 1 - 2.0**-1.25), (6, 5))


@dataclasses.dataclass(frozen=True)
class Truncated:
    """A level law for the engine, as `levels.Geometric` is: P(N = n) in proportion to (1 - r)**n, n = 0, ..., M.

    One word draws a level, by integer thresholds, and weights use the law of the table itself.

    Raises:
      ValueError: r outside (0, 1), or a largest level outside 1, ..., 30.
    """

    r: float
    last: int  # M

    def __post_init__(self):
        validate.require(0 < self.r < 1, "r", "lie in (0, 1)", self.r)
        validate.in_range("last", self.last, 1, 30)

    @functools.cached_property
    def thresholds(self) -> tuple[int, ...]:
        """T_0 = 2**32, ..., T_M: 2**32 P(N >= n), rounded."""
        q = 1 - self.r
        whole = 1 - q ** (self.last + 1)
        return tuple(round(2**32 * (q**n - q ** (self.last + 1)) / whole) for n in range(self.last + 1))

    @property
    def stop(self) -> int:
        """Where another word would be drawn: nowhere."""
        return self.last + 1

    def table(self, length: int) -> np.ndarray:
        """P(N = n) for n < length, float64; 1 beyond M, where there is no node to weigh."""
        return self._extended(-np.diff(np.append(self.thresholds, 0)), length)

    def tails(self, length: int) -> np.ndarray:
        """P(N >= n) for n < length, float64; 1 beyond M."""
        return self._extended(np.array(self.thresholds), length)

    def _extended(self, counts, length):
        return np.append(counts / 2.0**32, np.ones(max(0, length - len(counts))))[:length]


def expected_leaves(r: Sequence[float], last: Sequence[int], b: Sequence[int] | None = None) -> float:
    """Leaves per replicate in the mean: the product of 2**b_d E 2**N_d; finite for every r in (0, 1)."""
    laws = [Truncated(*pair) for pair in zip(r, last, strict=True)]
    factors = [float(law.table(law.last + 1) @ 2.0 ** np.arange(law.last + 1)) for law in laws]
    return math.prod(factors) * 2.0 ** sum(b or ())


def largest_leaves(last: Sequence[int], b: Sequence[int] | None = None) -> int:
    """The most leaves that a replicate can have: the product of 2**(b_d + M_d)."""
    return 2 ** (sum(last) + sum(b or ()))


def replicates(
    problem: NestedExpectation, params: read.Params, last: Sequence[int], seed: UInt[Array, " 2"], ids: Sequence[int]
) -> tuple[Float[Array, " R"], Array]:
    """Values and leaves `[R]` of replicates by id; NaN where a value is not finite.

    Args:
      params: of READ; `num_steps` is not used.
      last: M_d, length D, each in 1, ..., 30.
      seed: two uint32 words.
      ids: `[R]` integers in [0, 2**64); R a multiple of `params.block`.

    Raises: ValueError where these do not fit.
    """
    planned = read.plan(problem, params)
    validate.require(len(last) == problem.depth, "last", f"have {problem.depth} entries", last)
    validate.require(len(ids) % params.block == 0, "ids", f"fill blocks of {params.block}", len(ids))
    planned = dataclasses.replace(planned, laws=tuple(Truncated(*pair) for pair in zip(params.r, last, strict=True)))
    ran = read.planned_replicates(problem, planned, seed, ids)
    return ran.value, ran.leaves
