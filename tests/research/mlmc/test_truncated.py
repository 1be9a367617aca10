"""Levels up to a largest one: the bias is that of nested Monte Carlo with so many samples, the cost is bounded."""

import math

import numpy as np
import pytest

from research.mlmc import read, truncated, walks


def test_the_law_is_the_conditioned_one():
    law = truncated.Truncated(0.6, 3)
    exact = 0.4 ** np.arange(4) / (0.4 ** np.arange(4)).sum()
    np.testing.assert_allclose(law.table(4), exact, atol=1e-9)
    np.testing.assert_allclose(law.tails(4), exact[::-1].cumsum()[::-1], atol=1e-9)
    assert law.table(4).sum() == 1
    assert np.isfinite(1 / law.table(9)).all()


def test_bias_and_cost_are_those_of_the_largest_level():
    """A1: E = gamma_0 + s_1**2 / 2**M. 5.6 standard errors, 2e-8 by a normal law; the values have all moments."""
    problem, params, last = walks.walk("A1"), read.Params(r=(0.6,), block=1024), (2,)
    value, leaves = (
        np.asarray(x, np.float64) for x in truncated.replicates(problem, params, last, (3, 4), range(32768))
    )
    error = value.std(ddof=1) / math.sqrt(len(value))
    assert abs(value.mean() - (problem.exact + 0.25)) < 5.6 * error
    assert 5.6 * error < 0.25  # the bias is seen
    assert leaves.max() == truncated.largest_leaves(last) == 4
    spread = leaves.std() / math.sqrt(len(leaves))
    assert abs(leaves.mean() - truncated.expected_leaves((0.6,), last)) < 5.6 * spread


def test_the_published_setting():
    r, last = truncated.PUBLISHED
    assert truncated.largest_leaves(last) == 2048
    assert r == pytest.approx((0.6464466, 0.5795518))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: truncated.Truncated(1.0, 3), r"r must lie in \(0, 1\), got 1\.0\."),
        (lambda: truncated.Truncated(0.6, 0), r"last must lie in \[1, 30\], got 0\."),
        (
            lambda: truncated.replicates(walks.walk("A1"), read.Params(r=(0.6,)), (2, 2), (0, 0), ()),
            r"last must have 1",
        ),
        (
            lambda: truncated.replicates(walks.walk("A1"), read.Params(r=(0.6,), block=4096), (2,), (0, 0), range(5)),
            r"ids must fill blocks of 4096, got 5\.",
        ),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
