"""Oracles against second, slower ways to the same number."""

import numpy as np
import pytest

from research.regret import oracles


def table(seed, num_rows=40, dim=6, deficient=True):
    rng = np.random.default_rng(seed)
    features = rng.random((num_rows, dim))
    if deficient:  # a one-hot pair that sums to a constant column, as in the real data
        hot = rng.random(num_rows) < 0.5
        features[:, -3:] = np.stack([hot, ~hot, np.ones(num_rows)], axis=1)
    return features, rng.random(num_rows)


@pytest.mark.parametrize("seed", range(5))
def test_hindsight_is_least_squares(seed):
    x, y = table(seed)
    solution, value = oracles.least_squares(x, y)
    expected = np.linalg.pinv(x) @ y
    np.testing.assert_allclose(solution, expected, atol=1e-10)
    np.testing.assert_allclose(value, np.sum((y - x @ expected) ** 2), atol=1e-12)
    mask = np.arange(40) % 3 == 0
    assert oracles.hindsight(x, y, mask) == pytest.approx(oracles.hindsight(x[mask], y[mask]), abs=1e-14)
    groups = np.stack([mask, ~mask, np.zeros(40, bool)], axis=1)
    values = oracles.hindsight_groups(x, y, groups)
    np.testing.assert_allclose(values[1], oracles.hindsight(x[~mask], y[~mask]), atol=1e-14)
    assert values[2] == 0


@pytest.mark.parametrize("deficient", [False, True])
def test_prefixes_equal_separate_fits(deficient):
    x, y = table(1, deficient=deficient)
    lengths = [0, 1, 2, 5, 6, 7, 7, 20, 39, 40]
    expected = [oracles.hindsight(x[:n], y[:n]) for n in lengths]
    np.testing.assert_allclose(oracles.hindsight_prefixes(x, y, lengths), expected, atol=1e-12)


def test_leaving_one_row_out():
    x, y = table(2)
    x[7, 0] = 0
    x = np.c_[x, np.arange(40) == 7]  # row 7 alone in its direction: leverage 1
    rows = np.array([0, 7, 39])
    expected = [oracles.hindsight(np.delete(x, r, axis=0), np.delete(y, r)) for r in rows]
    np.testing.assert_allclose(oracles.hindsight_without(x, y, rows), expected, atol=1e-10)


@pytest.mark.parametrize("regularization", [1e-2, 1.0, 100.0])
def test_ridge_optimum_by_normal_equations(regularization):
    x, y = table(3)
    u = np.linalg.solve(x.T @ x + regularization * np.eye(6), x.T @ y)
    expected = regularization * u @ u + np.sum((y - x @ u) ** 2)
    assert oracles.ridge_optimum(x, y, None, regularization) == pytest.approx(expected, abs=1e-11)
    with pytest.raises(ValueError, match="regularization must be positive"):
        oracles.ridge_optimum(x, y, None, 0.0)


def test_curve_positions_are_the_papers():
    np.testing.assert_array_equal(oracles.curve_positions(5), [1, 1, 2, 3, 4])
    long = oracles.curve_positions(1338)
    assert (long[0], long[-1], len(long)) == (13, 1337, 100)
    assert len(oracles.curve_positions(0)) == 0


@pytest.mark.parametrize("paper_offset", [False, True])
def test_regret_curve_of_a_group(paper_offset):
    x, y = table(4)
    mask = np.arange(40) % 2 == 0
    loss = np.random.default_rng(0).random(40)
    curve = oracles.regret_curve(x, y, mask, loss, positions=np.array([0, 3, 19]), paper_offset=paper_offset)
    gx, gy, gl = x[mask], y[mask], loss[mask]
    for i, p in enumerate((0, 3, 19)):
        seen = p if paper_offset else p + 1
        best = oracles.hindsight(gx[:seen], gy[:seen])
        assert curve.regret[i] == pytest.approx(gl[: p + 1].sum() - best, abs=1e-12)
    np.testing.assert_array_equal(curve.rounds, (1, 4, 20))
    assert len(oracles.regret_curve(x, y, np.zeros(40), loss).regret) == 0
