"""The instances are what they promise to be, the opponents bite, and no theorem is violated."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.lib import config as config_lib
from experiments.lib import mesh as mesh_lib
from experiments.regret import contests, instances, stress
from research.core import prng
from research.regret import groupwise

SHAPE = instances.Shape(rounds=40, groups=6, features=4, hypotheses=3)
NUM = 50
ROUNDING = 1e-9  # float64, some hundred additions of numbers below ten

OVERRIDES = {
    "run.num_steps": SHAPE.rounds, "run.chunk": SHAPE.rounds // 2, "run.replicates": NUM,
    "problem.groups": SHAPE.groups, "problem.features": SHAPE.features, "problem.hypotheses": SHAPE.hypotheses,
}  # fmt: skip


@pytest.fixture(scope="module")
def played():
    """Instances, the states after the last round, and the ratios after each of the two chunks."""
    config = config_lib.resolve("configs/regret/bounds.py", OVERRIDES).config
    with jax.enable_x64(True):
        program = stress.program(config, mesh_lib.build({"rep": 1}))
        data, state = program.init()
        state, half = program.advance(data, state)
        state, whole = program.advance(data, state)
        yield data, state, half, whole


@functools.cache
def drawn(count=NUM):
    key = prng.root_key(3)
    return jax.jit(jax.vmap(lambda number: instances.draw(key, number, SHAPE)))(jnp.arange(count))


def test_no_theorem_is_violated(played):
    _, _, _, ratios = played
    worst = {name: float(np.max(values)) for name, values in ratios.items()}
    assert all(np.isfinite(values).all() for values in ratios.values())
    assert max(worst.values()) <= 1 + ROUNDING, worst


def test_smaller_constants_would_be_caught(played):
    """The bounds that are nearly attained here: nine tenths of T2 or T4, or half of T1, would be violated."""
    worst = {name: float(np.max(values)) for name, values in played[3].items()}
    for name, least in {"expert/aa": 0.9, "expert/vaw": 0.9, "meta/aa_opinions": 0.8, "meta/confident": 0.5}.items():
        assert worst[name] > least, name


def test_the_largest_ratio_never_falls(played):
    _, _, half, whole = played
    assert all(np.all(whole[name] >= half[name]) for name in whole)
    assert any(np.any(whole[name] > half[name]) for name in whole)


@pytest.mark.parametrize("learner", contests.GROUP_LEARNERS)
def test_the_chosen_labels_replay_to_the_same_losses(played, learner):
    """The learner that met the opponent round by round, against all rounds at once on the labels it was given."""
    data, state, _, _ = played
    contest = state.learners[learner]

    def replay(instance, labels):
        problem = contests.group_problem(instance, labels)
        options = contests.GROUP_LEARNERS[learner]
        params = groupwise.Params(SHAPE.rounds, instance.regularization, form="square_root", clip=(0.0, 1.0), **options)
        return groupwise.run(problem, params).group_loss

    with jax.enable_x64(True):
        losses = jax.jit(jax.vmap(replay))(data, contest.labels)
    np.testing.assert_allclose(losses, contest.learner.meta.group_loss, rtol=1e-7, atol=1e-9)


def test_an_instance_does_not_depend_on_how_many_there_are():
    few, many = drawn(7), drawn()
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, b[:7]), few, many)


def test_laws_and_patterns_meet_equally_often():
    found = drawn()
    assert 2 * len(instances.LAWS) * len(instances.PATTERNS) == NUM
    assert np.bincount(found.law).tolist() == [10] * len(instances.LAWS)


def test_numbers_lie_where_the_theorems_want_them():
    found = drawn()
    for name in ("labels", "opinions", "losses", "hypothesis_losses", "confidence"):
        values = getattr(found, name)
        assert np.all((values >= 0) & (values <= 1)), name
    assert set(np.unique(found.awake)) == {0.0, 1.0}
    for name in ("prior", "comparator"):
        np.testing.assert_allclose(np.sum(getattr(found, name), axis=1), 1, rtol=1e-5)
    absent = np.asarray(found.prior) < 1e-20
    assert absent.any()
    assert not np.asarray(found.awake).any(axis=1)[absent].any()


def test_the_opponent_is_at_least_half_a_unit_away():
    found = drawn()
    against = jax.tree.map(lambda leaf: leaf[instances.LAWS.index("against_learner")], found)
    for prediction in (0.0, 0.3, 0.5, 1.0):
        label = instances.label(against, jnp.int32(0), jnp.float32(prediction), jnp.zeros(SHAPE.groups))
        assert abs(float(label) - prediction) >= 0.5


def test_the_favourite_is_never_wrong_while_awake():
    found = drawn()
    spared = jax.tree.map(lambda leaf: leaf[instances.LAWS.index("perfect_expert")], found)
    spared = spared._replace(awake=jnp.ones_like(spared.awake))
    said = jnp.linspace(0.1, 0.9, SHAPE.groups)
    label = instances.label(spared, jnp.int32(3), jnp.float32(0.7), said)
    assert label == said[spared.favourite]
    p = jnp.full((SHAPE.groups,), 1 / SHAPE.groups)
    losses = instances.losses(spared, jnp.zeros(SHAPE.groups), p, spared.favourite)
    assert losses[spared.favourite] == 0
    assert np.sum(losses) == SHAPE.groups - 1
