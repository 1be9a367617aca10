"""Families are nested, and every stage of the scaling program is the group learner on the first k groups."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.lib import config as config_lib
from experiments.lib import mesh as mesh_lib
from experiments.regret import families, scaling
from research.regret import groupwise, oracles, problems

SIZES = (3, 7)
ROUNDS = 96
LAW = families.coded_law(128, (2, 3), seed=5, num_uniform=3)


@pytest.fixture(scope="module")
def config():
    changes = {"problem.sizes": SIZES, "problem.num_rounds": ROUNDS, "run.replicates": 2, "run.num_steps": 20}
    return config_lib.resolve("configs/regret/groups.py:coded_law,quick", changes).config


@pytest.fixture(scope="module")
def laps(config):
    """The data, and the metrics of two laps, one entry per step."""
    program = scaling.program(config, mesh_lib.build({"rep": 1}), LAW)
    data, state = program.init()
    rows = []
    for _ in range(config.run.num_steps):
        state, metrics = program.advance(data, state)
        rows.append(jax.device_get(metrics))
    return data, rows


compiled = jax.jit(lambda problem, params: groupwise.run(problem, params))


def learner(data, size, method, replicate):
    """The same by `groupwise.run`, experts and all."""
    aggregator, by_depth = scaling.METHODS[method]
    mass = data.depth_mass[:size] if by_depth else jnp.ones(size)
    problem = dataclasses.replace(
        data.table, awake=data.table.awake[:, :size], prior=mass / jnp.sum(mass), order=data.order[replicate]
    )
    params = groupwise.Params(num_steps=ROUNDS, form="recursion", **scaling.AGGREGATORS[aggregator])
    return problem, params, compiled(problem, params)


def test_every_stage_is_the_learner_on_the_first_groups(config, laps):
    data, rows = laps
    stages = ("experts", *config.algo.methods)
    for k, size in enumerate(SIZES):
        for j, method in enumerate(stages[1:], start=1):
            row = rows[k * len(stages) + j]
            for r in range(2):
                problem, params, found = learner(data, size, method, r)
                np.testing.assert_allclose(row["loss"][r], found.group_loss[0], rtol=1e-4)
                bound = groupwise.meta_regret_bound(problem, params, found.state.meta)
                np.testing.assert_allclose(row["bound"][r], bound[0], rtol=1e-3)


def test_the_first_stage_is_one_online_ridge(laps):
    data, rows = laps
    order = np.asarray(data.order[0])
    x, y = np.asarray(data.table.features)[order], np.asarray(data.table.labels)[order]
    alone = oracles.group_learner(x, y, np.ones((ROUNDS, 1), bool))
    np.testing.assert_allclose(rows[0]["loss"][0], alone.loss.sum(), rtol=1e-4)


def test_laps_repeat_the_numbers(config, laps):
    _, rows = laps
    period = len(SIZES) * (1 + len(config.algo.methods))
    for first, second in zip(rows[:period], rows[period:], strict=True):
        jax.tree.map(np.testing.assert_array_equal, first, second)


def test_measured_stays_below_the_bound(laps):
    _, rows = laps
    ratios = np.stack([row["ratio"] for row in rows])
    assert 0 < ratios.max() <= 1


def test_families_are_nested_by_depth_and_size():
    nested = LAW.load(12)
    assert nested.names[0] == "always_on"
    assert nested.awake[:, 0].all()
    assert nested.depth.tolist() == [0] + [1] * 5 + [2] * 6
    sizes = nested.awake.sum(axis=0)
    assert (np.diff(sizes[1:6]) <= 0).all()
    assert (np.diff(sizes[6:]) <= 0).all()
    np.testing.assert_array_equal(LAW.load(7).awake, nested.awake[:, :7])
    assert nested.awake[:, 6:].sum() == len(nested.labels)  # the deepest groups split everybody


def test_a_family_larger_than_there_are_groups_is_refused():
    with pytest.raises(ValueError, match=r"config.problem.sizes must end at most at 12, got 13\."):
        LAW.load(13)


def test_the_default_law_has_1024_groups():
    law = families.coded_law(8192, (3,) * 5, 21)
    nested = law.load(1024)
    assert len(set(nested.names)) == 1024
    assert (nested.awake.sum(axis=1) == 2**5).all()
    assert nested.features.shape == (law.num_rows, law.num_features)
    assert 0 <= nested.labels.min() < nested.labels.max() <= 1


def test_the_first_57_medical_groups_are_the_published_family():
    insurance = pytest.importorskip("experiments.data.insurance")
    fetch = pytest.importorskip("experiments.data.fetch")
    if not fetch.cached("insurance"):
        pytest.skip("the medical data is not cached")
    ours, published = families.medical().load(57), insurance.load("intersectional")
    columns = {column.tobytes() for column in ours.awake.T}
    assert columns == {column.tobytes() for column in (published.awake > 0).T}


def test_orders_are_the_papers_shuffles(config, laps):
    data, _ = laps
    np.testing.assert_array_equal(data.order[0], problems.permutation(473, 128)[:ROUNDS])


def test_steps_must_be_whole_laps(config):
    other = config_lib.resolve("configs/regret/groups.py:coded_law,quick", {"run.num_steps": 11}).config
    with pytest.raises(ValueError, match="a multiple of 2 sizes x 5 stages"):
        scaling.program(other, mesh_lib.build({"rep": 1}), LAW)
