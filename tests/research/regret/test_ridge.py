"""Linear experts: worked example, identity and bounds, equality of the four forms, float32 over long runs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.regret import oracles, problems, ridge

TABLE = ([[1, 0], [1, 1], [0.5, 2], [1, -1]], [1, 0.5, 0, 0.75])

# VAW differs from ridge after all arithmetic of the forms is done.
FORMS_OF = {"ridge": ridge.FORMS, "vaw": ("recursion", "blocked")}

run = jax.jit(ridge.run)


def problem_of(features, labels, awake=None, dtype=jnp.float64, order=None):
    features = jnp.asarray(features, dtype)
    awake = np.ones((len(labels), 1)) if awake is None else awake
    order = None if order is None else jnp.asarray(order, jnp.int32)
    return ridge.Problem(features, jnp.asarray(labels, dtype), jnp.asarray(awake, jnp.int32), order)


def random_problem(seed, num_rounds=70, dim=5, num_groups=4, dtype=jnp.float64, shuffled=False):
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(num_rounds, dim)) * rng.choice([0.01, 1, 30])
    awake = rng.random((num_rounds, num_groups)) < rng.random(num_groups)
    order = rng.permutation(num_rounds) if shuffled else None
    return problem_of(features, rng.random(num_rounds), awake, dtype, order)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    ("regularization", "forecaster", "predictions", "loss", "logdet"),
    [
        (1.0, "ridge", (0, 0.5, 0.25, 0.604838709677), 1.0835718002081165, 3.358637767243),
        (1.0, "vaw", (0, 0.2, 0.08064516129, 0.326086956522), 1.276205910471, 3.358637767243),
        (0.1, "ridge", (0, 0.909090909091, -0.248091603053, 1.061365059487), 1.325853015676, 7.572245750292),
        (0.1, "vaw", None, 1.279700590978, 7.572245750292),
    ],
)
def test_worked_example(regularization, forecaster, predictions, loss, logdet):
    problem = problem_of(*TABLE)
    for form in FORMS_OF[forecaster]:
        params = ridge.Params(4, regularization, forecaster, form, block_size=3)
        result = run(problem, params)
        made = np.asarray(result.trace.predictions[:, 0])
        if predictions is not None:
            np.testing.assert_allclose(made, predictions, atol=1e-9)
        np.testing.assert_allclose(np.sum((made - np.asarray(TABLE[1])) ** 2), loss, atol=1e-9)
        np.testing.assert_allclose(result.state.logdet, logdet, atol=1e-9)
        value = {1.0: 0.53152173913, 0.1: 0.154891304348}[regularization]
        np.testing.assert_allclose(result.state.ridge_value, value, atol=1e-9)
        if regularization == 1.0:
            np.testing.assert_allclose(result.trace.leverage[:, 0], (1, 1.5, 2.1, 0.854838709677), atol=1e-9)
            np.testing.assert_allclose(result.weights[0], (0.55652173913, -0.115217391304), atol=1e-9)
            factor = np.asarray(result.state.factor[0])
            inverse = factor @ factor.T if form == "square_root" else factor
            expected = [[0.24347826087, -0.034782608696], [-0.034782608696, 0.147826086957]]
            np.testing.assert_allclose(inverse, expected, atol=1e-9)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("forecaster", ridge.FORECASTERS)
@pytest.mark.parametrize("seed", range(6))
def test_four_forms_agree_in_float64(seed, forecaster):
    problem = random_problem(seed, shuffled=seed % 2 == 1)
    results = {form: run(problem, ridge.Params(70, 0.3, forecaster, form, 8)) for form in FORMS_OF[forecaster]}
    reference = results.pop("recursion")
    for result in results.values():
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-10), result.trace, reference.trace)
        np.testing.assert_allclose(result.weights, reference.weights, atol=1e-10, rtol=1e-9)
        # ln det carries the rounding of the determinant: eps |x|^2 / lambda, and |x|^2 / lambda goes up to 2e4 here.
        np.testing.assert_allclose(result.state.logdet, reference.state.logdet, rtol=1e-11)
        np.testing.assert_allclose(result.state.ridge_value, reference.state.ridge_value, atol=1e-10)


@pytest.mark.parametrize("seed", range(4))
def test_four_forms_agree_in_float32(seed):
    rng = np.random.default_rng(seed)
    awake = rng.random((400, 4)) < 0.5
    problem = problem_of(rng.random((400, 6)), rng.random(400), awake, jnp.float32)
    results = {form: run(problem, ridge.Params(400, form=form)) for form in ridge.FORMS}
    reference = results.pop("recursion")
    for result in results.values():
        np.testing.assert_allclose(result.trace.predictions, reference.trace.predictions, atol=1e-5)


def adversarial(seed):
    """Tables that strain the bounds: huge, tiny, repeated and orthogonal rows, labels against the forecast."""
    rng = np.random.default_rng(seed)
    num_rounds, dim = rng.integers(1, 60), rng.integers(1, 7)
    features = rng.normal(size=(num_rounds, dim))
    kind = seed % 5
    if kind == 1:
        features = np.eye(dim)[rng.integers(0, dim, num_rounds)] * rng.choice([1e-3, 1.0, 1e3])
    if kind == 2:
        features = np.repeat(features[:1], num_rounds, axis=0)
    if kind == 3:
        features *= 10.0 ** rng.integers(-4, 4, (num_rounds, 1))
    if kind == 4:
        features = np.sign(features)
    labels = rng.random(num_rounds) if seed % 2 else (rng.random(num_rounds) < 0.5).astype(float)
    regularization = float(rng.choice([1e-2, 0.3, 1.0, 30.0]))
    if seed % 3 == 0:  # each label is the end of [0, 1] farther from the forecast
        inverse, moment = np.eye(dim) / regularization, np.zeros(dim)
        for t, x in enumerate(features):
            labels[t] = float(x @ inverse @ moment < 0.5)
            gain = inverse @ x
            inverse -= np.outer(gain, gain) / (1 + x @ gain)
            moment += labels[t] * x
    return features, labels, regularization


@pytest.mark.usefixtures("x64")
def test_identity_and_loss_bounds_on_random_and_adversarial_tables():
    """T2: the identity to rounding, the two loss bounds and the determinant's bound, 200 tables."""
    pad = 60  # one shape, one compilation: rounds past the table are no rounds
    worst = {"ridge": 0.0, "vaw": 0.0, "logdet": 0.0}
    for seed in range(200):
        features, labels, regularization = adversarial(seed)
        num_rounds, dim = features.shape
        order = np.r_[np.arange(num_rounds), np.full(pad - num_rounds, -1)]
        table = np.zeros((pad, 6))
        table[:num_rounds, :dim] = features
        problem = problem_of(table, np.r_[labels, np.zeros(pad - num_rounds)], np.ones((pad, 1)), order=order)
        optimum = oracles.ridge_optimum(features, labels, None, regularization)
        form = ("recursion", "square_root", "blocked")[seed % 3]
        losses = {}
        for forecaster in ridge.FORECASTERS:
            params = ridge.Params(pad, regularization, forecaster, form, 16)
            result = run(problem, params)
            made = np.asarray(result.trace.predictions)[:num_rounds, 0]
            said = np.clip(made, 0, 1) if forecaster == "ridge" else made  # VAW needs no clipping
            losses[forecaster] = np.sum((said - labels) ** 2)
        state = result.state
        np.testing.assert_allclose(state.ridge_value[0], optimum, rtol=1e-7, atol=1e-9)
        reach = ridge.logdet_bound(num_rounds, dim, np.linalg.norm(features, axis=1).max(), regularization)
        bounds = {
            "ridge": ridge.ridge_loss_bound(state.ridge_value[0], state.logdet[0]),
            "vaw": ridge.vaw_loss_bound(state.ridge_value[0], state.logdet[0]),
        }
        for forecaster, loss in losses.items():
            assert loss <= bounds[forecaster] * (1 + 1e-9) + 1e-9
            worst[forecaster] = max(worst[forecaster], loss / max(float(bounds[forecaster]), 1e-9))
        assert state.logdet[0] <= reach * (1 + 1e-9) + 1e-12
        worst["logdet"] = max(worst["logdet"], float(state.logdet[0] / reach))
    assert min(worst.values()) > 0.5  # the tables come close enough to the bounds to tell


@pytest.mark.optimized
@pytest.mark.parametrize(("form", "half"), [("recursion", 31), ("square_root", 31), ("blocked", 24)])
def test_a_run_in_two_parts_repeats_the_whole_bit_for_bit(form, half):
    problem = random_problem(3, num_rounds=70, dtype=jnp.float32, shuffled=True)
    whole = run(problem, ridge.Params(70, form=form, block_size=8))
    first = run(problem, ridge.Params(half, form=form, block_size=8))
    second = run(problem, ridge.Params(70 - half, form=form, block_size=8), state=first.state)
    jax.tree.map(np.testing.assert_array_equal, second.state, whole.state)
    joined = jax.tree.map(lambda a, b: np.concatenate([a, b]), first.trace, second.trace)
    jax.tree.map(np.testing.assert_array_equal, joined, whole.trace)


@pytest.mark.usefixtures("x64")
def test_a_compacted_run_in_two_parts_agrees_to_rounding():
    problem = random_problem(3, shuffled=True)
    whole = run(problem, ridge.Params(70, form="compacted", block_size=8))
    first = run(problem, ridge.Params(31, form="compacted", block_size=8))
    second = run(problem, ridge.Params(39, form="compacted", block_size=8), state=first.state)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-10), second.state, whole.state)


@pytest.mark.parametrize("form", ridge.FORMS)
def test_rounds_that_are_none_change_nothing(form):
    """Gaps in the order, rounds past its end, and rows outside every group, wherever they stand."""
    problem = random_problem(5, num_rounds=40, dtype=jnp.float32)
    plain = run(problem, ridge.Params(40, form=form, block_size=8))
    order = np.full(64, -1)
    places = np.sort(np.random.default_rng(0).permutation(64)[:40])
    order[places] = np.arange(40)
    table = np.where(np.arange(41)[:, None] < 40, np.vstack([problem.features, np.full((1, 5), np.nan)]), np.nan)
    gaps = problem_of(
        table, np.r_[problem.labels, np.nan], np.vstack([problem.awake, np.zeros((1, 4))]), jnp.float32, order
    )
    padded = run(gaps, ridge.Params(72, form=form, block_size=8))
    for name in ("predictions", "leverage"):
        shown = np.asarray(getattr(padded.trace, name))
        np.testing.assert_allclose(shown[places], getattr(plain.trace, name), atol=2e-4, rtol=1e-3)
        assert not np.delete(shown, places, axis=0).any()
    np.testing.assert_allclose(padded.state.logdet, plain.state.logdet, rtol=1e-5)


@pytest.mark.parametrize("form", ridge.FORMS)
def test_experts_do_not_see_each_other(form):
    """A NaN in one row reaches the experts awake then and after, and leaves the bytes of the others alone."""
    problem = random_problem(7, dtype=jnp.float32)
    awake = problem.awake.at[20].set(jnp.asarray([1, 0, 0, 0])).at[:, 3].set(problem.awake[:, 1])
    awake = awake.at[20, 3].set(0)
    clean = problem_of(problem.features, problem.labels, awake, jnp.float32)
    dirty = problem_of(problem.features.at[20].set(jnp.nan), problem.labels, awake, jnp.float32)
    good, bad = run(clean, ridge.Params(70, form=form)), run(dirty, ridge.Params(70, form=form))
    assert np.isnan(bad.weights[0]).all()
    for g in (1, 2, 3):
        np.testing.assert_array_equal(bad.weights[g], good.weights[g])
        np.testing.assert_array_equal(bad.trace.predictions[:, g], good.trace.predictions[:, g])
    np.testing.assert_array_equal(good.weights[1], good.weights[3])  # the same group twice: the same expert twice


@pytest.mark.parametrize("form", ridge.FORMS)
def test_sums_keep_their_digits_in_float32(form):
    """ln det and ridge value over 20,000 rounds, against float64.

    The blocked forms know 1 + s rather than s: a logarithm is off by up to 2^-23, their sum by up to 1e-4 of 24.56.
    """
    tolerance = 2e-6 if form in ("recursion", "square_root") else 1e-4
    rng = np.random.default_rng(0)
    features, labels = rng.random((20_000, 3)), rng.random(20_000)
    with jax.enable_x64(True):
        truth = run(problem_of(features, labels), ridge.Params(20_000)).state
        exact = np.asarray([truth.logdet, truth.ridge_value])[:, 0]
    state = run(problem_of(features, labels, dtype=jnp.float32), ridge.Params(20_000, form=form)).state
    np.testing.assert_allclose([state.logdet[0], state.ridge_value[0]], exact, rtol=tolerance)


@pytest.mark.parametrize(
    ("form", "tolerance"),
    [
        ("blocked", 5e-6),
        pytest.param("recursion", 1e-4, marks=pytest.mark.slow),
        pytest.param("square_root", 5e-6, marks=pytest.mark.slow),
        pytest.param("compacted", 5e-6, marks=pytest.mark.slow),
    ],
)
def test_float32_losses_over_100000_rounds(form, tolerance):
    """Group losses of the paper's synthetic data, each expert alone, relative to float64."""
    table = problems.synthetic_law("mean")
    losses = {}
    for dtype in (jnp.float64, jnp.float32):
        with jax.enable_x64(dtype == jnp.float64):
            problem = problem_of(table.features, table.labels, table.awake, dtype)
            made = run(problem, ridge.Params(len(table.labels), form=form)).trace.predictions
            errors = np.where(table.awake, np.asarray(made, np.float64) - table.labels[:, None], 0)
            losses[dtype] = np.sum(errors**2, axis=0)
    np.testing.assert_allclose(losses[jnp.float32], losses[jnp.float64], rtol=tolerance)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"num_steps": 0}, r"Params.num_steps must be >= 1, got 0"),
        ({"block_size": 0}, r"Params.block_size must be >= 1, got 0"),
        ({"forecaster": "lasso"}, r"Params.forecaster must be one of 'ridge', 'vaw', got 'lasso'"),
        ({"form": "cholesky"}, r"Params.form must be one of .*, got 'cholesky'"),
    ],
)
def test_bad_parameters_are_named(fields, message):
    with pytest.raises(ValueError, match=message):
        ridge.Params(**fields)
