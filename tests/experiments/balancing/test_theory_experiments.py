"""Experiments about the theory: rules side by side are rules alone, counts add up, predictions are the theorems'."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.balancing import fixed_scores, floor, panels_gap, regret, settling
from experiments.balancing import preference as switching
from experiments.lib import config as config_lib
from experiments.lib import mesh as mesh_lib
from research.balancing import regret_bounds
from research.balancing.alf_lb import Problem

SCORES = (
    (0.903, 0.517, 0.124), (0.812, 0.655, 0.208), (0.847, 0.301, 0.362), (0.698, 0.611, 0.143), (0.951, 0.262, 0.447),
    (0.604, 0.389, 0.558),
)  # fmt: skip
#: By hand: loads before the first and after every update.
WORKED = {
    "sign const 0.03": "600 501 411 321 321 321 321 321 321 123 321 123 321",
    "sign inv 0.4": "600 033 231 123 321 222 222 222 222 222 222 222 222",
    "none": " ".join(["600"] * 13),
}


def resolved(reference, overrides=None):
    return config_lib.resolve(f"configs/balancing/{reference}", overrides).config


def test_rules_side_by_side_follow_the_worked_example(x64):
    """Two schedules of one rule and none at all as one batch, on K = 1."""
    problem = Problem(jnp.array(SCORES), 1)
    rules = fixed_scores.rules(tuple(WORKED), jnp.float64)

    @jax.jit
    def run(rules):
        return fixed_scores.advance(problem, rules, fixed_scores.start(problem, rules), 12)[1]

    history = run(rules)
    for row, loads in zip(np.asarray(history.load), WORKED.values(), strict=True):
        assert ["".join(map(str, load)) for load in row] == loads.split()
    np.testing.assert_allclose(history.bias[1, 5], [-0.18, 1 / 15, 0.94 / 3], atol=1e-12)
    assert float(history.dual[1, -1]) == pytest.approx(4.040, abs=1e-12)  # exactly balanced: the optimum


def test_every_switch_is_counted_once_in_both_ways(finished):
    run = finished("balancing")("preference.py:quick")
    pairs = {f"{one}-{other}": run.curves[f"{one}-{other}"] for one in switching.STATES for other in switching.STATES}
    assert sum(pairs.values()).sum() > 0
    for at, row in enumerate(run.config.algo.rows):
        by_difference = run.curves[f"difference/{row}"].sum(axis=-1)
        np.testing.assert_array_equal(by_difference, sum(pairs.values())[..., at])
    names = [row.split()[0] for row in run.config.algo.rows]
    signs = np.array([name == "sign" for name in names])
    for one, other in ("over", "over"), ("even", "even"), ("under", "under"):
        assert pairs[f"{one}-{other}"][..., signs].sum() == 0
    assert pairs["over-over"][..., ~signs].sum() > 0  # proportional steps tell such experts apart


def test_band_and_time_are_those_of_a_count_by_hand(x64):
    config = resolved("settling.py:quick", {"run.replicates": 2, "problem.tokens": 10, "problem.experts": 5})
    (_, (problems, time, band, _)), _ = settling.program(config, mesh_lib.build({"rep": 1})).init()
    for at, row in enumerate(config.algo.rows):
        u = float(row.split()[-1])
        for instance, scores in enumerate(np.asarray(problems.scores)):
            most = 0
            for j in range(5):
                for k in range(5):
                    gaps = scores[:, j] - scores[:, k]
                    if j != k:
                        most = max(most, max(np.sum((gaps >= g) & (gaps <= g + 2 * u)) for g in gaps))
            far = np.max(scores.max(axis=1) - scores.min(axis=1))
            assert band[instance, at] == most * 4 - 1  # L = 4 is whole
            assert time[instance, at] == np.floor(4 * (far + 2 * u) / (2 * u)) + 1


def test_predictions_are_the_closed_forms_of_a_location_family(x64):
    config = resolved("regret.py", {"run.num_steps": 16, "run.chunk": 8})
    problem = regret.problem_of(config)
    found = regret.predictions(config, problem)
    rows, mu = config.algo.rows, 1 / 8
    assert found["modulus"] == pytest.approx(mu)
    sigma = np.sqrt(1 / 8 * 7 / 8 / 256)
    steps = dict(zip(rows, found["steps"], strict=True))
    assert steps["prop inv_offset 2"] == pytest.approx(2 / mu)
    assert steps["sign const 0.05"] == pytest.approx(0.05 * sigma / mu)
    grown = dict(zip(rows, np.diff(found["theory"])[:, 0], strict=True))
    log = np.log((16 + 2) / (8 + 2))
    for scale in (1, 2):
        slope = regret_bounds.location_family_slope(8, 1, mu, 256, scale)
        assert grown[f"prop inv_offset {scale}"] == pytest.approx(slope * log)
    assert grown["prop const 0.05"] == pytest.approx(8 * 0.05 / mu * 7 / 8 / 4 / 256)
    assert grown["none"] == pytest.approx(8 * found["start"])


def test_groups_change_correlations_and_nothing_else():
    """Standard errors of a variance and of a correlation over 256 independent groups and 8 experts are below 0.04."""
    config = resolved("floor.py:quick", {"problem.experts": 8})
    _, clustered = floor.models(config)
    asked = config.problem
    scores = np.asarray(clustered.sample(jax.random.key(0), 256 * asked.group)) - np.asarray(clustered.base.location)
    grouped = scores.reshape(256, asked.group, 8)
    assert grouped.var() == pytest.approx(1, abs=0.2)
    neighbours = np.mean(grouped[:, 0] * grouped[:, 1])
    assert neighbours == pytest.approx(asked.share, abs=0.2 * (1 - asked.share))
    apart = np.mean(grouped[:-1, 0] * grouped[1:, 0])
    assert abs(apart) < 0.15


@pytest.mark.parametrize(
    ("gap", "expected"), [([1, 0.5, 0.05, 0.01], 3), ([0.01] * 4, 1), ([0.01, 1, 0.01, 1], 5), ([1, 0.01, 1, 0.01], 4)]
)
def test_sweeps_to_a_target_are_counted_until_the_last_relapse(gap, expected):
    """Of the slowest of two instances; one more than the run has where it ends above the target."""
    curves = {"step": np.arange(1, 5), "gap/quantile": np.stack([gap, [0.0] * 4], axis=1)}
    run = types.SimpleNamespace(curves=curves, config=types.SimpleNamespace(run=types.SimpleNamespace(replicates=2)))
    assert panels_gap.sweeps(run, "quantile", 0.1).value == expected
