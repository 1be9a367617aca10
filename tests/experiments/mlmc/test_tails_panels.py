"""What the figure of tails computes from a run: running moments, Hill's index, and which cases it speaks of."""

import math
from types import SimpleNamespace

import numpy as np
import pytest

from experiments.mlmc import panels_tails as panels

BLOCK, BLOCKS, SEEDS = 64, 5, 3


@pytest.fixture(scope="module")
def values():
    """`[blocks, seeds, case, replicate]`; the second case a Pareto law of index 1.5."""
    rng = np.random.default_rng(0)
    return np.stack([rng.normal(2, 3, (BLOCKS, SEEDS, BLOCK)), rng.pareto(1.5, (BLOCKS, SEEDS, BLOCK)) + 1], axis=2)


@pytest.fixture(scope="module")
def run(values):
    mean = values.mean(axis=-1)
    m2 = ((values - mean[..., None]) ** 2).sum(axis=-1)
    by_seed = np.abs(values).transpose(2, 1, 0, 3).reshape(2, SEEDS, -1)
    results = {
        "top": -np.sort(-by_seed, axis=-1)[..., :40], "variance": np.array([9.0, math.inf]),
        "exact": np.array([2.0, 3.0]), "moments": np.array([9.0, 1.5]), "kink": np.array([False, True]),
        "seen": np.tile(np.arange(64.0), (2, 1)),
    }  # fmt: skip
    config = SimpleNamespace(
        problem=SimpleNamespace(walks=("A3", "A4"), rates=(0.75, 0.6)), algo=SimpleNamespace(block=BLOCK),
        run=SimpleNamespace(num_steps=BLOCKS, replicates=SEEDS),
    )  # fmt: skip
    return SimpleNamespace(config=config, curves={"mean": mean, "m2": m2}, results=results)


def test_running_moments_are_those_of_all_replicates_so_far(run, values):
    count, mean, variance = panels.running(run, 0)
    np.testing.assert_array_equal(count, BLOCK * np.arange(1, BLOCKS + 1))
    for k in range(BLOCKS):
        so_far = values[: k + 1, :, 0].transpose(1, 0, 2).reshape(SEEDS, -1)
        np.testing.assert_allclose(mean[k], so_far.mean(axis=1), rtol=1e-12)
        np.testing.assert_allclose(variance[k], so_far.var(axis=1, ddof=1), rtol=1e-12)
    assert panels.shown(run, 0).value == pytest.approx(np.median(variance[-1]) / 9)


def test_levels_seen_are_those_drawn_once_in_the_mean(run):
    # At r = 3/4 a level is reached by a quarter of those that reached the one below: 64 replicates see three.
    np.testing.assert_allclose(panels.expected_share(run, 0) * 9, [3, 3, 3, 4, 4])


def test_exceedances_are_complete(run, values):
    everything = np.sort(np.abs(values[:, :, 1].ravel()))[::-1]
    found = panels.exceedances(run, 1)
    assert len(found) >= 40  # at least one seed's list is in whole
    np.testing.assert_array_equal(found, everything[: len(found)])


def test_hill_knows_a_pareto_law():
    # Exact quantiles x = u**(-1/a) at u = (i - 1/2)/n; the index of a sample has relative standard error k**-1/2.
    n = 20_000
    for index in (1.5, 2.06, 4.1):
        found = panels.hill(((np.arange(n) + 0.5) / n) ** (-1 / index))
        assert found[-1] == pytest.approx(index, rel=2e-3)
    drawn = np.sort(np.random.default_rng(1).pareto(2.2, n) + 1)[::-1]
    assert panels.hill(drawn)[-1] == pytest.approx(2.2, rel=5 / math.sqrt(n))  # five standard errors


def test_the_heaviest_case_is_smooth(run):
    assert panels.heaviest(run) == 0
    assert [name[:2] for name in panels.names(run)] == [("A3", 0.75), ("A4", 0.6)]


def test_coverage_counts_blocks(run, values):
    deviation = values[:, :, 0].std(axis=-1, ddof=1) / math.sqrt(BLOCK)
    inside = np.abs(values[:, :, 0].mean(axis=-1) - 2) <= 1.959964 * deviation
    found = panels.coverage(run, 0)
    assert (found.value, found.n) == (inside.mean(), BLOCKS * SEEDS)
    assert found.low < found.value <= found.high
