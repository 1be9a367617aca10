"""Instances: laws of the families, the hard instances' optima, padding, and every input that must be refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.core import prng
from research.matching import problems
from research.matching.problems import Problem

FAMILIES = {
    "er": (problems.er, 0.5),
    "ba": (problems.ba, 3),
    "geom": (problems.geom, 0.25),
    "vertex_weighted": (problems.vertex_weighted, 0.5),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_is_valid_in_both_precisions_and_under_jit_and_vmap(family, x64):
    make, shape_parameter = FAMILIES[family]
    keys = prng.replicate_keys(prng.root_key(0), 3)
    for dtype in (jnp.float32, jnp.float64):
        drawn = jax.jit(jax.vmap(lambda key, dtype=dtype: make(key, shape_parameter, 8, 13, dtype)))(keys)
        batch = jax.device_get(drawn)
        for lane in range(3):
            problem = jax.tree.map(lambda leaf, lane=lane: leaf[lane], batch)
            problems.validate(problem)
            assert (problem.num_offline, problem.num_steps, problem.typed) == (8, 13, False)
            assert problem.weights.dtype == problem.arrivals.dtype == dtype
    alone = make(keys[1], shape_parameter, 8, 13, dtype)  # one operation after the other, in the last precision
    np.testing.assert_allclose(batch.weights[1], alone.weights, rtol=1e-5, atol=1e-6)


def test_erdos_renyi_has_the_density_asked_for():
    problem = problems.er(prng.root_key(1), 0.3, 100, 400)
    edges = np.asarray(problem.weights > 0)
    # 40,000 fair draws: five standard errors are 0.0115, a false alarm of 6e-7.
    assert abs(edges.mean() - 0.3) < 0.0115


def test_preferential_attachment_joins_each_arrival_to_distinct_nodes_and_prefers_the_popular():
    problem = problems.ba(prng.root_key(2), 4, 30, 500)
    edges = np.asarray(problem.weights > 0)
    np.testing.assert_array_equal(edges.sum(0), 4)
    degrees = edges.sum(1)
    # Uniform attachment has a standard deviation near sqrt(500 * 4/30 * 26/30) = 7.6; reinforcement several times it.
    assert degrees.std() > 15


def test_geometric_keeps_the_closest_pairs_of_one_picture():
    problem = problems.geom(prng.root_key(3), 0.25, 20, 40)
    weights = np.asarray(problem.weights)
    assert (weights > 0).sum() == 200
    full = np.asarray(problems.geom(prng.root_key(3), 1.0, 20, 40).weights)
    assert np.isclose(full.min(), 0, atol=1e-6)
    kept = weights > 0
    np.testing.assert_array_equal(weights[kept], full[kept])
    assert weights[kept].min() >= full[~kept].max()


def test_vertex_weights_belong_to_the_node():
    weights = np.asarray(problems.vertex_weighted(prng.root_key(4), 0.5, 20, 40).weights)
    for row in weights:
        assert len(np.unique(row[row > 0])) == 1


@pytest.mark.parametrize("stationary", [False, True])
def test_typed_rows_are_sub_probabilities(stationary):
    problem = problems.typed_random(prng.root_key(5), 6, 30, 4, stationary=stationary)
    problems.validate(problem)
    assert problem.weights.shape == (6, 1 if stationary else 30, 4)
    assert problem.allocation_shape == (6, 30, 4)
    totals = np.asarray(problem.arrivals).sum(1)
    assert totals.min() >= 0
    assert totals.max() <= 1
    assert totals.std() > 0.1


@pytest.mark.parametrize(("poisson", "value"), [(0.724, 1.002638), (1.0, 1.0025)])
def test_hard_edge_comes_with_a_feasible_solution_of_the_published_value(poisson, value, x64):
    problem, x = problems.hard_edge(3, poisson, 1e-3, jnp.float64)
    problems.validate(problem)
    problems.validate_allocation(problem, x, tolerance=1e-12)
    assert float(jnp.sum(problem.weights * x)) == pytest.approx(value, abs=1e-12)


def test_hard_prophet_is_the_textbook_example(x64):
    problem = problems.hard_prophet(0.01, 1.5, jnp.float64)
    np.testing.assert_allclose(problem.weights, [[1, 150]], rtol=1e-15)
    np.testing.assert_allclose(problem.arrivals, [1, 0.01], rtol=1e-15)


def test_padding_appends_nothing_but_zeros():
    for problem in (
        problems.er(prng.root_key(6), 0.5, 3, 5),
        problems.typed_random(prng.root_key(6), 3, 5, 2),
        problems.typed_random(prng.root_key(6), 3, 5, 2, stationary=True),
    ):
        padded = problems.pad(problem, 4, 7)
        problems.validate(padded)
        assert padded.allocation_shape[:2] == (4, 7)
        steps = problem.weights.shape[1]
        np.testing.assert_array_equal(padded.weights[:3, :steps], problem.weights)
        np.testing.assert_array_equal(padded.arrivals[:5], problem.arrivals)
        assert float(jnp.sum(padded.weights)) == pytest.approx(float(jnp.sum(problem.weights)), rel=1e-6)
        assert float(jnp.sum(padded.arrivals)) == pytest.approx(float(jnp.sum(problem.arrivals)), rel=1e-6)


def test_stacking_pads_to_the_largest():
    batch = problems.stack([problems.er(prng.root_key(7), 0.5, 3, 5), problems.er(prng.root_key(8), 0.5, 2, 9)])
    assert batch.weights.shape == (2, 3, 9)
    assert batch.arrivals.shape == (2, 9)


def test_a_bernoulli_problem_is_a_typed_one_with_one_type():
    problem = problems.er(prng.root_key(9), 0.5, 3, 5)
    typed = problems.as_typed(problem)
    problems.validate(typed)
    assert (typed.num_types, problem.num_types) == (1, 0)
    assert problems.as_typed(typed) is typed


W, P, TYPED_W, TYPED_P = np.ones((2, 3)), np.full(3, 0.5), np.ones((2, 3, 4)), np.full((3, 4), 0.25)


def changed(array, index, value):
    array = array.copy()
    array[index] = value
    return array


@pytest.mark.parametrize(
    ("weights", "arrivals", "message"),
    [
        (W, changed(P, 2, 1.5), r"arrivals must lie in \[0, 1\], got 1.5 at index 2"),
        (W, changed(P, 1, -0.1), r"arrivals must lie in \[0, 1\], got -0.1.* at index 1"),
        (W, changed(P, 0, np.nan), r"arrivals must be finite, got nan at index 0"),
        (changed(W, (1, 2), np.nan), P, r"weights must be finite, got nan at index \(1, 2\)"),
        (changed(W, (0, 1), np.inf), P, r"weights must be finite, got inf at index \(0, 1\)"),
        (changed(W, (0, 1), -2.0), P, r"weights must be >= 0, got -2.0 at index \(0, 1\)"),
        (W, np.full(4, 0.5), r"weights and arrivals must have shapes .* got \(\(2, 3\), \(4,\)\)"),
        (W, 0.5, r"weights and arrivals must have shapes"),
        (TYPED_W, P, r"weights and arrivals must have shapes"),
        (np.ones((2, 2, 4)), TYPED_P, r"weights and arrivals must have shapes"),
        (np.ones((2, 5)), TYPED_P, r"weights and arrivals must have shapes"),
        (np.ones((0, 3)), P, r"number of offline nodes must be >= 1, got 0"),
        (np.ones((2, 0)), np.ones(0), r"number of arrival times must be >= 1, got 0"),
        (np.ones((2, 3, 0)), np.ones((3, 0)), r"number of types must be >= 1, got 0"),
        (TYPED_W, changed(TYPED_P, (1, 0), -0.25), r"arrivals must lie in \[0, 1\], got -0.25 at index \(1, 0\)"),
        (TYPED_W, changed(TYPED_P, (2, 3), 0.5), r"sum of arrivals over types must lie in .* got 1.25 at index 2"),
        (W.astype(int), P, r"weights must have a floating dtype, got int"),
    ],
)
def test_bad_input_is_named_with_its_place_and_value(weights, arrivals, message):
    with pytest.raises(ValueError, match=message):
        problems.from_arrays(weights, arrivals)


def test_integers_are_accepted_where_a_dtype_says_so():
    problem = problems.from_arrays(np.ones((2, 3), int), np.ones(3, int), dtype=jnp.float32)
    assert problem.weights.dtype == jnp.float32
    with pytest.raises(ValueError, match="arrivals must have a floating dtype"):
        problems.validate(Problem(jnp.ones((2, 3)), jnp.ones(3, jnp.int32)))


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (changed(0.1 * W, (1, 2), -0.001), r"x must be >= -0.0001, got -0.001.* at index \(1, 2\)"),
        (changed(0.1 * W, (1, 2), 0.45), r"slack of sum_i x_it <= p_t must be >= -0.0001, got -0.05.* at index 2"),
        (
            changed(changed(0.1 * W, (0, 0), 0.4), (0, 1), 0.35),
            r"slack of x_it <= p_t \(1 - y_it\) must be .*, got -0.0[45].* at index \(0, 1\)",
        ),
        (changed(0.1 * W, (0, 0), np.nan), r"x must be finite, got nan at index \(0, 0\)"),
        (0.1 * np.ones((2, 4)), r"x must have shape \(2, 3\), got \(2, 4\)"),
    ],
)
def test_an_infeasible_allocation_is_refused(x, message):
    with pytest.raises(ValueError, match=message):
        problems.validate_allocation(problems.from_arrays(W, P, dtype=jnp.float32), x)


@pytest.mark.parametrize(
    "call",
    [
        lambda: problems.er(prng.root_key(0), 1.5, 2, 3),
        lambda: problems.ba(prng.root_key(0), 5, 2, 3),
        lambda: problems.geom(prng.root_key(0), -0.1, 2, 3),
        lambda: problems.hard_edge(0, 0.5, 1e-3),
        lambda: problems.hard_edge(3, 1.5, 1e-3),
        lambda: problems.hard_prophet(0.0),
        lambda: problems.identical(2, 3, 4.0),
        lambda: problems.pad(problems.identical(2, 3, 1.0), 1, 3),
        lambda: problems.stack([]),
    ],
)
def test_generators_refuse_what_they_cannot_make(call):
    with pytest.raises(ValueError, match="must"):
        call()
