"""The group learner: worked example, golden losses, guarantees part by part, continuation, edge cases, bad input."""

import dataclasses
import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.core import loops, prng, status
from research.regret import groupwise, oracles, problems, ridge

FEATURES = [(1, 0, 1, 0), (0, 1, 1, 0), (1, 1, 0, 1), (0.5, 0.5, 1, 0), (1, 0.25, 0, 1), (0.25, 1, 1, 0)]
LABELS = [0.9, 0.2, 0.4, 0.6, 0.3, 0.25]
AWAKE = [(1, 0, 1), (1, 0, 1), (0, 1, 1), (1, 0, 1), (0, 1, 1), (1, 0, 1)]
UNIT = (0.0, 1.0)

VARIANTS = {
    "expected": {"combine": "expected"},
    "mean": {},
    "clipped": {"clip": UNIT},
    "aa": {"meta": "aa", "clip": UNIT},
    "ewa": {"meta": "ewa", "clip": UNIT},
    "vaw": {"forecaster": "vaw", "clip": UNIT},
    "sample": {"combine": "sample"},
}
COVERED = {
    "expected": {"combine": "expected", "clip": UNIT},
    "mean": {"clip": UNIT},
    "aa": {"meta": "aa", "clip": UNIT},
    "ewa": {"meta": "ewa", "clip": UNIT},
    "vaw": {"forecaster": "vaw", "clip": UNIT},
}

# Forms and variants meet in the aggregator's inputs only: each form with one variant, other variants with one form.
FORMS_AND_VARIANTS = [("mean", form) for form in ridge.FORMS] + [(v, "recursion") for v in ("expected", "aa", "sample")]

run = jax.jit(functools.partial(groupwise.run, validate=False))


@jax.jit
def stream(problem, params, state):
    """Round by round, by `groupwise.step`."""
    return loops.scan_steps(groupwise.step, problem, params, state, params.num_steps)


@jax.jit
def all_losses(problem, params):
    """Group losses of three aggregators on one pass of the experts."""
    made = ridge.run(problem, groupwise.expert_params(params)).trace.predictions

    def losses(variant):
        mine = groupwise.Params(params.num_steps, **VARIANTS[variant])
        return groupwise.aggregate(problem, mine, made, groupwise.init_meta(problem, mine))[0].group_loss

    return {variant: losses(variant) for variant in ("expected", "mean", "aa")}


def worked(dtype=jnp.float64):
    return problems.from_arrays(FEATURES, LABELS, AWAKE, dtype=dtype)


def random_problem(seed, num_rounds=64, dim=5, num_groups=4, dtype=jnp.float64):
    rng = np.random.default_rng(seed)
    awake = rng.random((num_rounds, num_groups)) < 0.6 * rng.random(num_groups)
    prior = rng.dirichlet(np.ones(num_groups) * 3)
    order = rng.permutation(num_rounds)
    features = rng.normal(size=(num_rounds, dim))
    return problems.from_arrays(features, rng.random(num_rounds), awake, prior, order=order, dtype=dtype)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    ("variant", "sums", "losses"),
    [
        (
            "expected",
            (0.870077650627, 0.093408759445, 0.963486410072),
            (0.81, 0.01, 0.0878125, 0.033454690573, 0.005596259445, 0.016622960054),
        ),
        (
            "mean",
            (0.869983694263, 0.069102798926, 0.939086493189),
            (0.81, 0.01, 0.06890625, 0.033452020672, 0.000196548926, 0.016531673591),
        ),
        (
            "aa",
            (0.870013654965, 0.055956712068, 0.925970367031),
            (0.81, 0.01, 0.055734221951, 0.033390434639, 0.000222490117, 0.016623220325),
        ),
        ("vaw", (0.904574728972, 0.144653360507, 1.04922808948), None),
        ("ewa", (0.869991696689, 0.068912831431, 0.93890452812), None),
    ],
)
def test_worked_example(variant, sums, losses):
    for form in ridge.FORMS if variant == "mean" else ("recursion",):
        result = run(worked(), groupwise.Params(6, form=form, block_size=4, **VARIANTS[variant]))
        np.testing.assert_allclose(result.group_loss, sums, atol=1e-9)
        logdet = (2.790973371641, 1.972343406123, 4.502064071701)
        np.testing.assert_allclose(result.state.experts.logdet, logdet, atol=1e-9)
        if losses is not None:
            np.testing.assert_allclose(result.trace.loss, losses, atol=1e-9)


@pytest.mark.usefixtures("x64")
def test_worked_example_in_full():
    result = run(worked(), groupwise.Params(6, form="recursion", block_size=4, combine="expected"))
    probabilities = [
        (0.5, 0, 0.5), (0.5, 0, 0.5), (0, 0.5, 0.5), (0.479405818363, 0, 0.520594181637),
        (0, 0.41624459008, 0.58375540992), (0.477469004262, 0, 0.522530995738),
    ]  # fmt: skip
    np.testing.assert_allclose(result.trace.probabilities, probabilities, atol=1e-9)
    np.testing.assert_allclose(
        result.state.meta.weights.regret, (0.000274900111, -0.072216240555, 0.071968915058), atol=1e-9
    )
    forecasts = [
        (0, 0, 0), (0.3, 0, 0.3), (0, 0, 0.275), (0.4125, 0, 0.421428571429), (0, 0.225, 0.374671052632),
        (0.371022727273, 0, 0.385753356539),
    ]  # fmt: skip
    made = jax.jit(ridge.run)(worked(), ridge.Params(6, form="recursion")).trace.predictions
    np.testing.assert_allclose(made, forecasts, atol=1e-9)


@functools.cache
def medical():
    insurance = pytest.importorskip("experiments.data.insurance")
    fetch = pytest.importorskip("experiments.data.fetch")
    try:
        return insurance.load()
    except fetch.DataError as error:
        pytest.skip(f"medical costs cannot be had: {error}")


MEDICAL = {
    "expected": "3.90563743 2.30737468 2.7540282 .1465483 1.48068411 2.21675494 5.12305296 2.35889819 6.60814212 "
    "4.5912014 4.37583891 8.96704031",
    "mean": "3.68335724 2.04279543 2.49633414 .09803234 1.28246909 2.04044319 4.80154218 1.85350809 6.36897872 "
    "4.20458649 4.01790032 8.2224868",
    "aa": "3.66415817 2.08690517 2.51991137 .0897029 1.25190309 2.06088373 4.868485 1.94133631 6.32963841 4.26342571 "
    "4.00754901 8.27097472",
}


def medical_problem(dtype):
    data = medical()
    order = problems.permutation(473, len(data.labels))
    return problems.from_arrays(data.features, data.labels, data.awake, order=order, dtype=dtype)


@pytest.mark.parametrize("form", ["recursion", "square_root", "compacted"])
def test_medical_losses_in_float32(form):
    losses = all_losses(medical_problem(jnp.float32), groupwise.Params(1338, form=form))
    for variant, golden in MEDICAL.items():
        np.testing.assert_allclose(losses[variant], np.array(golden.split(), float), rtol=5e-6)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("form", ["recursion", "blocked"])
def test_medical_losses_in_float64(form):
    losses = all_losses(medical_problem(jnp.float64), groupwise.Params(1338, form=form))
    for variant, golden in MEDICAL.items():
        np.testing.assert_allclose(losses[variant], np.array(golden.split(), float), atol=1e-7)


@pytest.mark.usefixtures("x64")
def test_medical_certificate():
    """Golden bounds and regrets of the clipped run, and measured <= bound for each part of each group."""
    data, problem = medical(), medical_problem(jnp.float64)
    best = oracles.hindsight_groups(data.features, data.labels, data.awake)
    params = groupwise.Params(1338, form="recursion", combine="expected", clip=UNIT)
    state = run(problem, params).state
    bound, measured = groupwise.certificate(problem, params, state, best), groupwise.measured_regret(state, best)
    golden = "6.5479 5.6991 4.8992 .8532 2.5529 2.3138 3.176 3.4887 3.1138 7.0251 6.6135 9.3155"
    np.testing.assert_allclose(bound.meta, np.array(golden.split(), float), atol=1e-4)
    assert data.group_names[int(np.argmax(measured.meta))] == "smoker"
    np.testing.assert_allclose(np.max(measured.meta), 0.5701, atol=1e-4)
    assert data.group_names[int(np.argmax(measured.total))] == "obese"
    np.testing.assert_allclose(np.max(measured.total), 1.4844, atol=1e-4)
    for part in groupwise.Parts._fields:
        assert np.all(getattr(measured, part) <= getattr(bound, part))
    constant = groupwise.Params(1338, form="recursion", meta="aa", clip=UNIT)
    state = run(problem, constant).state
    np.testing.assert_allclose(groupwise.meta_regret_bound(problem, constant, state.meta), 1.2425, atol=1e-4)
    np.testing.assert_allclose(np.max(groupwise.measured_regret(state).meta), 0.2206, atol=1e-4)


@pytest.mark.usefixtures("x64")
def test_synthetic_losses():
    table = problems.synthetic_law("mean")
    num_rounds = len(table.labels)
    problem = problems.from_table(table, order=problems.permutation(473, num_rounds), dtype=jnp.float64)
    losses = all_losses(problem, groupwise.Params(num_rounds))
    golden = {
        "expected": (24.2314861, 14.6987822, 10.1772439, 24.7458072, 24.361705, 49.1075122),
        "mean": (23.8352589, 14.1567085, 9.797332, 24.1455739, 23.6437256, 47.7892994),
    }
    for variant, wanted in golden.items():
        np.testing.assert_allclose(losses[variant], wanted, atol=1e-7)
    np.testing.assert_allclose(losses["aa"][-1], 45.7044686, atol=1e-7)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(("variant", "form"), FORMS_AND_VARIANTS)
def test_streaming_and_decoupled_losses_agree(variant, form):
    problem = random_problem(11, num_rounds=24)
    params = groupwise.Params(24, 0.5, form=form, block_size=8, **VARIANTS[variant])
    key = prng.root_key(5)
    whole = run(problem, params, key)
    state, streamed = stream(problem, params, groupwise.init(problem, params, key))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-10), streamed, whole.trace)
    np.testing.assert_allclose(state.meta.group_loss, whole.group_loss, atol=1e-10)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(("seed", "combine"), [(0, "expected"), (1, "mean"), (2, "expected")])
def test_equals_the_plain_loop(seed, combine):
    """Against Python loops, theta = P b and weights without logarithms; sleep, priors and empty rounds included."""
    problem = random_problem(seed)
    forecaster, clip = (("ridge", None), ("vaw", UNIT), ("ridge", (0.2, 0.6)))[seed]
    result = run(problem, groupwise.Params(64, 0.3, forecaster, "blocked", "anh", combine, clip, 16))
    order = np.asarray(problem.order)
    assert not np.asarray(problem.awake)[order].any(axis=1).all()  # some rounds belong to no group
    arrays = (np.asarray(a)[order] for a in (problem.features, problem.labels, problem.awake))
    plain = oracles.group_learner(
        *arrays, regularization=0.3, forecaster=forecaster, combine=combine, clip=clip, prior=np.asarray(problem.prior)
    )
    for name in ("loss", "prediction", "expert_loss", "probabilities"):
        np.testing.assert_allclose(getattr(result.trace, name), getattr(plain, name), atol=1e-10)
    np.testing.assert_allclose(result.state.meta.weights.regret, plain.regret, atol=1e-10)
    np.testing.assert_allclose(result.state.meta.weights.cumulative, plain.cumulative, atol=1e-10)


NUM_ROUNDS, DIM, GROUPS = 72, 5, 6


def strained(seed):
    """A problem that strains the guarantee: scales, repeats, nested and empty groups, steps in the labels."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(NUM_ROUNDS, DIM)) * 10.0 ** rng.integers(-3, 3)
    if seed % 4 == 1:
        features = np.eye(DIM)[rng.integers(0, DIM, NUM_ROUNDS)]
    if seed % 4 == 2:
        features *= 10.0 ** rng.integers(-2, 3, (NUM_ROUNDS, 1))
    density = rng.random(GROUPS) ** 2
    awake = rng.random((NUM_ROUNDS, GROUPS)) < density
    awake[:, 1] &= awake[:, 0]
    awake[:, 2] = seed % 3 == 0
    awake[:, -1] = True
    labels = rng.random(NUM_ROUNDS)
    if seed % 2:
        labels = (np.arange(NUM_ROUNDS) // rng.integers(1, 30) % 2).astype(float)
    prior = rng.dirichlet(np.full(GROUPS, 5.0))
    return features, labels, awake.astype(float), prior


def against_the_learner(problem, params):
    """The same problem with each label at the end of [0, 1] that is farther from the learner's prediction."""

    def one_round(carry, t):
        problem, state = carry
        _, info = groupwise.step(problem, params, state)
        label = (info.prediction < 0.5).astype(problem.labels.dtype)
        problem = eqx.tree_at(lambda p: p.labels, problem, problem.labels.at[t].set(label))
        state, _ = groupwise.step(problem, params, state)
        return (problem, state), None

    state = groupwise.init(problem, params)
    return jax.lax.scan(one_round, (problem, state), jnp.arange(NUM_ROUNDS))[0][0]


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("variant", COVERED)
def test_regret_below_certificate_part_by_part(variant):
    """T3, T4: 240 problems, every group, expert and meta parts apart; half of the labels chosen against the learner."""
    num_problems = 240
    problem_list = map(strained, range(num_problems))
    columns = [jnp.asarray(np.stack(column), jnp.float64) for column in zip(*problem_list, strict=True)]
    lambdas = jnp.asarray(np.random.default_rng(0).choice([0.01, 1.0, 50.0], num_problems))

    @jax.jit
    @jax.vmap
    def play(features, labels, awake, prior, regularization, hostile):
        problem = groupwise.Problem(features, labels, awake, prior)
        params = groupwise.Params(NUM_ROUNDS, regularization, form="recursion", **COVERED[variant])
        assert groupwise.is_covered(params)
        chosen = against_the_learner(problem, params).labels
        problem = eqx.tree_at(lambda p: p.labels, problem, jnp.where(hostile, chosen, labels))
        state = groupwise.run(problem, params).state
        return problem.labels, groupwise.certificate(problem, params, state), groupwise.measured_regret(state)

    labels, bound, measured = play(*columns, lambdas, jnp.arange(num_problems) % 2 == 0)
    features, _, awake, _ = (np.asarray(column) for column in columns)
    best = np.stack(
        [oracles.hindsight_groups(x, y, a) for x, y, a in zip(features, np.asarray(labels), awake, strict=True)]
    )
    assert np.all(measured.meta <= bound.meta + 1e-12)
    assert np.all(measured.expert - best <= bound.expert - best + 1e-9)
    assert np.all(measured.total - best <= bound.total - best + 1e-9)
    # Close enough to tell a wrong constant.
    assert np.max(measured.meta / np.where(bound.meta > 0, bound.meta, np.inf)) > 0.1
    assert np.max(measured.expert / np.where(bound.expert > 0, bound.expert, np.inf)) > 0.5


@pytest.mark.usefixtures("x64")
def test_certificate_holds_at_every_round():
    features, labels, awake, prior = strained(5)
    problem = problems.from_arrays(features, labels, awake, prior, dtype=jnp.float64)
    params = groupwise.Params(NUM_ROUNDS, clip=UNIT)
    problem = against_the_learner(problem, params)

    def one_round(state, _):
        state, _ = groupwise.step(problem, params, state)
        return state, (groupwise.certificate(problem, params, state), groupwise.measured_regret(state))

    _, (bound, measured) = jax.lax.scan(one_round, groupwise.init(problem, params), length=NUM_ROUNDS)
    for part in groupwise.Parts._fields:
        assert np.all(getattr(measured, part) <= getattr(bound, part) + 1e-12)
    assert np.all(np.diff(bound.total, axis=0) >= -1e-12)


@pytest.mark.optimized
@pytest.mark.parametrize(
    ("variant", "form", "half"),
    [("sample", "recursion", 27), ("aa", "square_root", 27), ("mean", "blocked", 32)],
)
def test_a_run_in_two_parts_repeats_the_whole_bit_for_bit(variant, form, half):
    problem = random_problem(2, dtype=jnp.float32)
    params = groupwise.Params(2 * half, form=form, block_size=16, **VARIANTS[variant])
    key = prng.root_key(3)
    start = groupwise.init(problem, params, key)
    whole = run(problem, params, state=start)
    first = run(problem, dataclasses.replace(params, num_steps=half), state=start)
    second = run(problem, dataclasses.replace(params, num_steps=half), state=first.state)

    def bits(leaf):
        return jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf

    jax.tree.map(lambda a, b: np.testing.assert_array_equal(bits(a), bits(b)), second.state, whole.state)
    joined = jax.tree.map(lambda a, b: np.concatenate([a, b]), first.trace, second.trace)
    jax.tree.map(np.testing.assert_array_equal, joined, whole.trace)


def test_sample_draws_by_the_probabilities():
    """Draws go to awake experts with positive weight, and realise the loss that the aggregator is charged on average.

    400 independent replicates of 6 rounds, losses in [0, 1]: by Hoeffding a mean over 400 draws is off by more than
    0.15 with probability 2 exp(-2 * 400 * 0.15^2) = 3e-8, for 6 rounds 2e-7.
    """
    problem, keys = worked(jnp.float32), prng.replicate_keys(prng.root_key(0), 400)
    params = groupwise.Params(6, form="recursion", combine="sample", clip=UNIT)
    sampled = jax.jit(jax.vmap(lambda key: groupwise.run(problem, params, key)))(keys)
    expected = run(problem, groupwise.Params(6, form="recursion", combine="expected", clip=UNIT))
    np.testing.assert_allclose(sampled.trace.probabilities[0], expected.trace.probabilities, atol=1e-6)
    np.testing.assert_allclose(np.mean(sampled.trace.loss, axis=0), expected.trace.loss, atol=0.15)
    made = np.clip(jax.jit(ridge.run)(problem, ridge.Params(6, form="recursion")).trace.predictions, 0, 1)
    said = np.where(np.asarray(AWAKE) > 0, made, np.nan)
    gap = np.abs(np.asarray(sampled.trace.prediction)[:, :, None] - said[None])
    assert np.nanmin(gap, axis=2).max() < 1e-6
    assert np.std(np.asarray(sampled.trace.prediction)[:, 2]) > 0.05  # both experts of round 2 are drawn


def test_clipping_touches_predictions_and_nothing_that_is_learnt():
    problem = random_problem(4, dtype=jnp.float32)
    free, clipped = (run(problem, groupwise.Params(64, form="recursion", clip=clip)) for clip in (None, (0.4, 0.5)))
    jax.tree.map(np.testing.assert_array_equal, free.state.experts, clipped.state.experts)
    assert np.all((clipped.trace.prediction >= 0.4 - 1e-6) & (clipped.trace.prediction <= 0.5 + 1e-6))


@pytest.mark.parametrize("form", ["recursion", "compacted"])
def test_replicates_share_the_table_and_not_their_accidents(form):
    """`vmap` over orders alone; a NaN label shown in one replicate leaves the bytes of the others alone."""
    problem = random_problem(6, dtype=jnp.float32)
    orders = np.stack([problems.permutation(seed, 64) for seed in (473, 503, 623)])
    orders[[0, 2]] = np.where(orders[[0, 2]] == 9, -1, orders[[0, 2]])  # row 9 is shown in replicate 1 only
    params = groupwise.Params(64, form=form)

    @jax.jit
    def play(problem):
        return jax.vmap(lambda p: groupwise.run(p, params), in_axes=(groupwise.order_axes(problem),))(problem)

    clean = eqx.tree_at(lambda p: p.order, problem, jnp.asarray(orders, jnp.int32))
    dirty = eqx.tree_at(lambda p: p.labels, clean, clean.labels.at[9].set(jnp.nan))
    good, bad = play(clean), play(dirty)
    for lane in (0, 2):
        jax.tree.map(lambda a, b, lane=lane: np.testing.assert_array_equal(a[lane], b[lane]), good, bad)
    np.testing.assert_array_equal(bad.status, (status.Status.OK, status.Status.NONFINITE, status.Status.OK))
    alone = run(eqx.tree_at(lambda p: p.order, problem, jnp.asarray(orders[1], jnp.int32)), params)
    np.testing.assert_allclose(good.trace.loss[1], alone.trace.loss, atol=1e-4)


@pytest.mark.parametrize("form", ["recursion", "blocked"])
def test_rounds_that_are_none_have_no_loss_and_change_nothing(form):
    problem = worked(jnp.float32)
    plain = run(problem, groupwise.Params(6, form=form, clip=(0.1, 0.9)))
    padded = run(problem, groupwise.Params(11, form=form, clip=(0.1, 0.9)))
    np.testing.assert_array_equal(padded.trace.loss[6:], 0)
    np.testing.assert_allclose(padded.group_loss, plain.group_loss, rtol=1e-6)
    np.testing.assert_allclose(padded.state.experts.factor, plain.state.experts.factor, atol=1e-6)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("variant", ["expected", "aa"])
def test_a_group_that_never_wakes_or_that_is_there_twice_changes_nothing(variant):
    problem = random_problem(8)
    awake, order = np.asarray(problem.awake), problem.order
    rounds = np.asarray(awake)[np.asarray(order)].any(axis=1)

    def losses(awake):
        table = problems.from_arrays(problem.features, problem.labels, awake, order=order)
        return run(table, groupwise.Params(64, form="recursion", **VARIANTS[variant]))

    alone = losses(awake)
    sleeper = losses(np.c_[awake, np.zeros(64)])
    np.testing.assert_allclose(sleeper.trace.loss, alone.trace.loss, atol=1e-12)
    assert sleeper.group_loss[-1] == 0
    if variant == "aa":  # everything twice leaves all ratios alone
        twice = losses(np.c_[awake, awake])
        np.testing.assert_allclose(twice.trace.loss[rounds], alone.trace.loss[rounds], atol=1e-12)
    else:
        single, double = losses(awake[:, :1]), losses(np.c_[awake[:, :1], awake[:, :1]])
        np.testing.assert_allclose(double.trace.loss, single.trace.loss, atol=1e-12)


@pytest.mark.parametrize(("variant", "form"), FORMS_AND_VARIANTS)
def test_one_round_one_group_one_feature(variant, form):
    problem = problems.from_arrays([[2.0]], [0.5], [[1]], dtype=jnp.float32)
    params = groupwise.Params(1, form=form, **VARIANTS[variant])
    result = run(problem, params, prng.root_key(0))
    np.testing.assert_allclose(result.trace.loss, [0.25])
    np.testing.assert_allclose(result.state.experts.weights, [[0.2]], rtol=1e-6)
    status.check(result)


@pytest.mark.parametrize("variant", ["mean", "sample", "ewa"])
def test_a_round_with_nobody_awake(variant):
    """Nobody speaks: 0 is predicted, its loss is reported, and neither group nor state notices."""
    problem = problems.from_arrays(FEATURES, LABELS, np.zeros((6, 3)), dtype=jnp.float32)
    params = groupwise.Params(6, form="recursion", **VARIANTS[variant])
    result = run(problem, params, prng.root_key(0))
    np.testing.assert_allclose(result.trace.loss, np.square(LABELS), rtol=1e-6)
    np.testing.assert_allclose(result.trace.probabilities, np.full((6, 3), 1 / 3), rtol=1e-6)
    start = groupwise.init(problem, params, prng.root_key(0))
    for mine, fresh in ((result.state.meta[:4], start.meta[:4]), (result.state.experts[1:], start.experts[1:])):
        jax.tree.map(np.testing.assert_array_equal, mine, fresh)


def changed(**fields):
    arrays = {"features": FEATURES, "labels": LABELS, "awake": AWAKE, "prior": [1 / 3] * 3, "order": None} | fields
    arrays = {name: None if value is None else jnp.asarray(value) for name, value in arrays.items()}
    return groupwise.Problem(**arrays)


def with_entry(rows, value):
    array = np.array(rows, float)
    array.flat[7 % array.size] = value
    return array


@pytest.mark.parametrize(
    ("fields", "params", "message"),
    [
        ({"features": with_entry(FEATURES, np.nan)}, {}, r"features must be finite, got nan at index \(1, 3\)"),
        ({"labels": with_entry(LABELS, np.inf)}, {}, r"labels must be finite, got inf at index 1"),
        ({"awake": with_entry(AWAKE, np.nan)}, {}, r"awake must be finite, got nan"),
        ({"labels": LABELS[:5]}, {}, r"features, labels, awake must have equal lengths, got .*'labels': 5"),
        ({"awake": AWAKE[:4]}, {}, r"must have equal lengths, got .*'awake': 4"),
        ({"awake": np.zeros((6, 0)), "prior": np.zeros(0)}, {}, r"number of groups must be >= 1, got 0"),
        ({"awake": with_entry(AWAKE, 0.5)}, {}, r"awake must be 0 or 1, got 0.5 at index \(2, 1\)"),
        ({"prior": [0.5, 0.5, 0.5]}, {}, r"prior must sum to 1 .*, got sum 1.5"),
        ({"prior": [0.5, 0.5, 0.0]}, {}, r"prior must be positive and finite, got 0.0 at index 2"),
        ({"prior": [0.5, 0.5]}, {}, r"prior must have shape \(3\), got \(2,\)"),
        ({"order": [0, 6]}, {}, r"order must lie in \[-inf, 5\], got 6 at index 1"),
        ({"order": [0.0, 1.0]}, {}, r"order must hold integers, got float32"),
        ({}, {"regularization": 0.0}, r"Params.regularization must be positive and finite, got 0.0"),
        ({}, {"regularization": -1.0}, r"Params.regularization must be positive and finite, got -1.0"),
        ({}, {"clip": (1.0, 0.0)}, r"Params.clip must be a pair .* low < high, got \(1.0, 0.0\)"),
        ({}, {"meta": "aa"}, r'Params.clip must lie inside \[0, 1\] with meta="aa", got None'),
        ({}, {"meta": "ewa", "clip": (0.0, 2.0)}, r"Params.clip must lie inside \[0, 1\] .*, got \(0.0, 2.0\)"),
        ({}, {"meta": "aa", "clip": UNIT, "combine": "sample"}, r"Params.combine must be \"mean\" .*, got 'sample'"),
        ({"labels": with_entry(LABELS, 1.5)}, {"meta": "aa", "clip": UNIT}, r"labels .*must lie in \[0, 1\], got 1.5"),
        ({}, {"meta": "hedge"}, r"Params.meta must be one of 'anh', 'aa', 'ewa', got 'hedge'"),
        ({}, {"forecaster": "lasso"}, r"Params.forecaster must be one of .*, got 'lasso'"),
        ({}, {"form": "qr"}, r"Params.form must be one of .*, got 'qr'"),
        ({}, {"combine": "vote"}, r"Params.combine must be one of .*, got 'vote'"),
        ({}, {"combine": "sample"}, r'key must be given with combine="sample", got None'),
        ({}, {"num_steps": 0}, r"Params.num_steps must be >= 1, got 0"),
    ],
)
def test_bad_input_is_one_line_that_names_it(fields, params, message):
    with pytest.raises(ValueError, match=message) as caught:
        groupwise.run(changed(**fields), groupwise.Params(**{"num_steps": 6} | params))
    assert "\n" not in str(caught.value)


def test_only_runs_clipped_to_the_unit_interval_are_covered():
    assert groupwise.is_covered(groupwise.Params(clip=(0, 1)))
    assert not groupwise.is_covered(groupwise.Params())
    assert not groupwise.is_covered(groupwise.Params(clip=(0.2, 0.8)))
