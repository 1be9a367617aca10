"""Generators: the published synthetic data number by number, orders, group families, the same law by key."""

import random

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.core import prng
from research.regret import groupwise, problems


def test_synthetic_law_is_the_published_one():
    table = problems.synthetic_law("mean")
    assert table.groups == ("circle", "square", "triangle", "green", "red", "always_on")
    np.testing.assert_array_equal(table.awake.sum(axis=0), (49857, 30044, 20099, 59985, 40015, 100_000))
    assert table.features.shape == (100_000, 25)
    np.testing.assert_array_equal(table.features[:, 20:], table.awake[:, :5])
    np.testing.assert_array_equal(table.awake[:, :3].sum(axis=1), 1)
    np.testing.assert_array_equal(table.awake[:, 3:5].sum(axis=1), 1)
    assert (table.labels.min(), table.labels.max()) == (0, 1)
    legacy = np.random.RandomState(21)
    np.testing.assert_array_equal(table.features[:, :20].ravel()[:5], legacy.uniform(size=5))


def _raw(label, num_rounds):
    """The law written out once more, value by value, before scaling."""
    numbers, choices = np.random.RandomState(21), random.Random(21)
    features = numbers.uniform(0, 1, (num_rounds, 20))
    shape = choices.choices(["circle", "square", "triangle"], [0.5, 0.3, 0.2], k=num_rounds)
    color = choices.choices(["green", "red"], [0.6, 0.4], k=num_rounds)
    weights = numbers.uniform(0, 1, (20, 5))
    values = features @ weights + numbers.normal(scale=0.16, size=(num_rounds, 5))
    column = {"circle": 0, "square": 1, "triangle": 2, "green": 3, "red": 4}
    priority = [["circle", "square", "triangle", "green", "red"][k] for k in numbers.permutation(5)]
    if num_rounds == 100_000:
        assert priority == ["green", "square", "red", "triangle", "circle"]
    rows = []
    for row, pair in zip(values, zip(shape, color, strict=True), strict=True):
        first = min(pair, key=priority.index)
        a, b = (row[column[name]] for name in pair)
        rows.append({"mean": (a + b) / 2, "min": min(a, b), "max": max(a, b), "dperm": row[column[first]]}[label])
    return np.array(rows)


@pytest.mark.parametrize("label", problems.SYNTHETIC_LABELS)
def test_synthetic_labels_written_out(label):
    num_rounds = 100_000 if label == "dperm" else 500
    raw = _raw(label, num_rounds)
    expected = (raw - raw.min()) / (raw.max() - raw.min())
    np.testing.assert_allclose(problems.synthetic_law(label, num_rounds).labels, expected, atol=1e-12)


def test_generators_leave_the_global_ones_alone():
    np.random.seed(5)
    random.seed(5)
    before = np.random.get_state()[1].copy(), random.getstate()
    problems.synthetic_law("mean", 50)
    problems.permutation(473, 50)
    assert random.getstate() == before[1]
    np.testing.assert_array_equal(np.random.get_state()[1], before[0])


def test_shuffles_and_stable_sorts():
    order = problems.permutation(473, 1338)
    np.testing.assert_array_equal(np.sort(order), np.arange(1338))
    assert len(problems.PAPER_SEEDS) == 10
    key = np.arange(1338) % 7
    ascending = problems.sorted_order(order, key)
    place = np.argsort(order)
    for value in range(7):
        ties = ascending[key[ascending] == value]
        np.testing.assert_array_equal(np.sort(place[ties]), place[ties])  # ties stay as shuffled
    assert np.all(np.diff(key[ascending]) >= 0)
    np.testing.assert_array_equal(problems.sorted_order(order, key, descending=True), ascending[::-1])


def test_min_max_of_a_constant_column_is_zero():
    scaled = problems.min_max(np.array([[1.0, 5.0], [3.0, 5.0], [2.0, 5.0]]))
    np.testing.assert_array_equal(scaled, [[0, 0], [1, 0], [0.5, 0]])


def test_intersectional_groups_are_the_conjunctions_large_enough():
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 3, (200, 4))
    family = problems.intersectional(codes, max_order=2, min_size=15)
    awake = problems.membership(codes, family.conditions)
    np.testing.assert_array_equal(awake, problems.membership(jnp.asarray(codes), jnp.asarray(family.conditions)))
    assert family.names[-1] == "always_on"
    assert awake[:, -1].all()
    assert (awake.sum(axis=0) >= 15).all()
    sizes = {}
    for a in range(4):
        for v in range(3):
            sizes[f"{a}={v}"] = np.sum(codes[:, a] == v)
            for b in range(a + 1, 4):
                for w in range(3):
                    sizes[f"{a}={v} & {b}={w}"] = np.sum((codes[:, a] == v) & (codes[:, b] == w))
    assert set(family.names[:-1]) == {name for name, size in sizes.items() if size >= 15}
    for name, column in zip(family.names[:-1], awake.T[:-1], strict=True):
        assert column.sum() == sizes[name]
    prior = problems.depth_prior(family.conditions)
    assert prior.sum() == pytest.approx(1)
    assert prior[-1] / prior[0] == pytest.approx(2)
    assert problems.intersectional(codes, 0).names == ("always_on",)


@pytest.mark.parametrize("label", ["mean", "dperm"])
def test_the_law_by_key(label):
    """Group shares within five standard deviations (1e-6 each), labels in [0, 1], and a problem that runs."""
    problem = jax.jit(lambda key: problems.synthetic_jax(key, label, 5000))(prng.root_key(0))
    share = np.array([0.5, 0.3, 0.2, 0.6, 0.4, 1.0])
    deviation = np.sqrt(share * (1 - share) / 5000)
    assert np.all(np.abs(np.mean(problem.awake, axis=0) - share) <= 5 * deviation)
    assert problem.features.shape == (5000, 25)
    assert (float(problem.labels.min()), float(problem.labels.max())) == (0, 1)
    groupwise.validate(problem, groupwise.Params())
    x, y = np.asarray(problem.features, np.float64), np.asarray(problem.labels, np.float64)
    both = np.asarray(problem.awake[:, 0] & problem.awake[:, 3])
    rest = y[both] - x[both] @ np.linalg.lstsq(x[both], y[both], rcond=None)[0]
    assert rest.std() < 0.5 * y.std()  # the label is a function of the features, and not noise


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: problems.synthetic_law("median"), r"label must be one of 'mean', 'min', 'max', 'dperm', got 'median'"),
        (lambda: problems.synthetic_law("mean", 0), r"num_rounds must be >= 1, got 0"),
        (lambda: problems.from_arrays(np.zeros(3), np.zeros(3), np.ones((3, 1))), r"features must have shape"),
        (lambda: problems.from_arrays(np.zeros((3, 1)), np.zeros(2), np.ones((3, 1))), r"equal lengths"),
        (lambda: problems.from_arrays(np.zeros((3, 1)), np.zeros(3), np.ones((3, 0))), r"groups must be >= 1, got 0"),
        (lambda: problems.intersectional(np.zeros((3, 2), int), 3), r"max_order must lie in \[0, 2\], got 3"),
    ],
)
def test_bad_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
