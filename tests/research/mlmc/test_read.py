"""READ: its algebra, bits that do not depend on tiles, faults that are reported, bad input, and what it estimates."""

import dataclasses
import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from research.core import prng, status
from research.mlmc import deadline, engine, layout, levels, links, oracles, pyramid, read, slow, walks, words

SEED = (1, 2)


def values(problem, ids, **params):
    return np.asarray(read.replicates(problem, read.Params(**params), SEED, ids).value, np.float64)


# ---- Algebra ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("estimator", "expected"), [("single", -23.4375), ("block", -4.6875), ("coupled", None)])
def test_estimators_of_four_children_by_hand(estimator, expected, x64):
    """Link z**2, children 1, 2, 3, 6, r = 0.6, level 2: Delta_2 = -2.25, Delta_1 = -(0.25 + 2.25)/2 over blocks."""
    if expected is None:  # Delta_0 of the first child, Delta_1 of the first two
        expected = 1 - 0.25 / 0.4 - 2.25 / 0.16
    problem = walks.walk("A1", jnp.float64)
    plan = read.plan(problem, read.Params(r=(0.6,), block=16, estimator=estimator))
    rules = engine.rules(problem, plan, 0)
    children = jnp.asarray([1.0, 2.0, 3.0, 6.0])[layout.reversed_lanes(4)]
    states = jnp.zeros(4)
    sizes = pyramid.climb(rules, states, pyramid.base(rules, states, children, None))
    left, right = (jax.tree.map(lambda leaf, i=i: leaf[i : i + 1], sizes[1]) for i in (0, 1))
    tally = engine.start_tally(problem, plan)
    value, _ = engine.combine(problem, plan, 0, jnp.asarray([2]), states[:1], left, right, tally)
    assert float(value[0]) == pytest.approx(expected, rel=1e-7)


@pytest.mark.parametrize(("name", "r", "b"), [("C2", (0.74, 0.6, 0.54), (0, 0, 0)), ("B2", (0.65, 0.58), (2, 1))])
def test_replicates_are_those_of_the_definition(name, r, b, x64):
    problem = walks.walk(name, jnp.float64)
    ran = read.replicates(problem, read.Params(r=r, b=b, block=64), SEED, np.arange(64))
    laws = tuple(levels.Geometric(rate) for rate in r)
    one = [oracles.replicate(oracles.walk(problem), laws, b, SEED, i) for i in range(64)]
    np.testing.assert_array_equal(ran.leaves, [leaves for _, leaves in one])
    np.testing.assert_allclose(ran.value, [value for value, _ in one], rtol=1e-8, atol=1e-9)


def test_64_bit_ids():
    ran = read.replicates(walks.walk("E1"), read.Params(r=(0.74, 0.6), block=16), SEED, [2**32 + 5, 2**40 + 1])
    np.testing.assert_allclose(ran.value, [1.351155103, 0.150367409], atol=2e-4, rtol=0)
    np.testing.assert_array_equal(ran.leaves, [1, 2])


# ---- Bits ------------------------------------------------------------------------------------------------------------


@pytest.mark.optimized
@pytest.mark.parametrize(
    "params",
    [{}, *(pytest.param(other, marks=pytest.mark.slow) for other in ({"estimator": "block"}, {"leaves": "sobol"}))],
    ids=str,
)
def test_replicates_do_not_depend_on_tiles_or_batches(params):
    problem, ids = walks.walk("E1"), np.arange(1024)
    found = [
        values(problem, ids, r=(0.65, 0.58), block=tiles[0], tiles=tiles, **params)
        for tiles in ((1024, 512, 64), (1024, 256, 256), (256, 256, 16))
    ]
    for other in found[1:]:
        np.testing.assert_array_equal(found[0], other)


@pytest.mark.optimized
def test_numbers_of_a_problem_may_be_constants_of_a_program():
    """Folded into the arithmetic they would move the last bit of one replicate in eight."""
    problem, params = walks.walk("A3"), read.Params(r=(0.62,), block=256)
    plan, valid = read.plan(problem, params), jnp.ones(256, bool)
    ids = tuple(map(jnp.asarray, words.split(np.arange(256))))
    block = jax.jit(lambda ids: engine.block(problem, plan, tuple(map(jnp.uint32, SEED)), ids, valid).value)
    np.testing.assert_array_equal(block(ids), read.replicates(problem, params, SEED, np.arange(256)).value)


# ---- Faults ----------------------------------------------------------------------------------------------------------


def test_an_overflow_is_flagged_and_finished_on_the_slow_path():
    """A table of one threshold, so that one node in six needs a third word."""
    problem = walks.walk("E1")
    plan = read.plan(problem, read.Params(r=(0.74, 0.6), block=32))
    laws = (levels.Geometric(0.74, cut=2**29), levels.Geometric(0.6, cut=2**30))
    plan = dataclasses.replace(plan, laws=laws)
    ids = tuple(map(jnp.asarray, words.split(np.arange(32))))
    block = jax.jit(lambda ids: engine.block(problem, plan, tuple(map(jnp.uint32, SEED)), ids, jnp.ones(32, bool)))
    ran = block(ids)
    lost = np.flatnonzero(~np.isfinite(ran.value))
    assert ran.tally.overflow
    assert 1 <= len(lost) < 16
    for i in range(32):
        value, leaves = oracles.replicate(oracles.walk(problem), laws, (0, 0), SEED, i)
        assert i in lost or float(ran.value[i]) == pytest.approx(value, abs=2e-4)
        if i in lost[:2]:
            found = slow.replicate(problem, plan, SEED, i)
            assert found == (pytest.approx(value, abs=2e-4), leaves)


class _Faulty(walks.GaussianWalk):
    """A leaf that is infinite where y_1 is large; the link max(z, 0) hides minus infinity."""

    threshold: float = eqx.field(static=True, default=2.0)

    def leaf(self, state):
        return jnp.where(state > self.threshold, -jnp.inf, state)


def test_a_replicate_that_is_not_finite_is_named_and_takes_nobody_down():
    base = walks.walk("A4")
    problem = _Faulty(base.mean, base.scales, base.functions, base.with_state, base.signs)
    params = read.Params(r=(0.55,), block=64, num_steps=2)
    result = jax.jit(functools.partial(read.run, problem, params))(prng.root_key(0))
    healthy = read.replicates(base, params, result.state.seed, np.arange(128))
    mine = read.replicates(problem, params, result.state.seed, np.arange(128))
    bad = ~np.isfinite(mine.value)
    assert 0 < bad.sum() < 64
    np.testing.assert_allclose(mine.value[~bad], healthy.value[~bad], rtol=1e-6)
    assert int(result.state.bad) == bad.sum()
    assert int(words.join(result.state.first_bad)) == np.flatnonzero(bad)[0]
    assert np.isfinite(result.value)
    with pytest.raises(FloatingPointError, match="NONFINITE"):
        status.check(result)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"r": (0.5,)}, r"Params.r\[0\] must lie in \(0.5, .*got 0.5"),
        ({"r": (1.0,)}, r"Params.r\[0\] must lie in \(0.5, .*got 1.0"),
        ({"r": (float("nan"),)}, r"Params.r\[0\] must lie in .*got nan"),
        ({"b": (-1,)}, r"Params.b\[0\] must be an integer in 0..20, got -1"),
        ({"b": (21,)}, r"Params.b\[0\] must be an integer in 0..20, got 21"),
        ({"b": (0, 0)}, "Params.b must have 1 entries"),
        ({"num_steps": 0}, "Params.num_steps must be >= 1, got 0"),
        ({"block": 100}, "Params.block must be a power of two"),
        ({"tiles": (64, 48)}, r"Params.tiles\[1\] must be a power of two"),
        ({"tiles": (64, 128)}, "Params.tiles must not increase"),
        ({"estimator": "double"}, "Params.estimator must be one of"),
        ({"leaves": "halton"}, "Params.leaves must be one of"),
        ({"levels": "sorted"}, "Params.levels must be one of"),
        ({"sums": "float16"}, "Params.sums must be one of"),
    ],
)
def test_bad_parameters_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        read.Params(**({"r": (0.6,), "block": 64} | change))


def test_problems_that_do_not_fit_are_refused():
    key = prng.root_key(0)
    with pytest.raises(ValueError, match="r must have 2 entries"):
        read.init(walks.walk("E1"), read.Params(r=(0.6,)), key)
    with pytest.raises(ValueError, match="allow_infinite_variance"):
        read.init(walks.walk("A5"), read.Params(r=(0.6,)), key)
    with pytest.warns(UserWarning, match="p_0"):
        read.init(walks.walk("A1"), read.Params(r=(0.8,)), key)
    with pytest.raises(ValueError, match="p_0"):
        read.init(walks.walk("A1"), read.Params(r=(0.8,), strict=True), key)
    with pytest.raises(ValueError, match="ids must be integers"):
        read.replicates(walks.walk("A1"), read.Params(r=(0.6,)), SEED, [-3])
    with pytest.raises(ValueError, match="seed must"):
        read.replicates(walks.walk("A1"), read.Params(r=(0.6,)), (1, 1 << 32), [3])


# ---- Estimates -------------------------------------------------------------------------------------------------------

# name, r, b: inside the admissible set.
ADMISSIBLE = [
    ("A1", (0.62,), (0,)), ("A2", (0.62,), (0,)), ("A3", (0.62,), (0,)), ("A4", (0.6,), (0,)),
    ("E1", (0.65, 0.58), (1, 0)), ("B2", (0.65, 0.58), (2, 0)), ("B3", (0.62, 0.56), (2, 1)),
    ("C1", (0.62, 0.56, 0.53), (2, 2, 1)), ("C2", (0.62, 0.58, 0.54), (0, 0, 0)), ("E3", (0.65, 0.58), (0, 0)),
]  # fmt: skip


def _score(name, r, b, blocks, block):
    problem = walks.walk(name)
    params = read.Params(r=r, b=b, block=block, num_steps=blocks)
    result = jax.jit(functools.partial(read.run, problem, params))(prng.stream(prng.root_key(0), name))
    status.check(result)
    means = np.asarray(result.trace.mean, np.float64)
    return (means.mean() - problem.exact) / (means.std(ddof=1) / np.sqrt(blocks)), result


@pytest.mark.slow
def test_ten_exact_problems_at_ten_million_leaves():
    """False alarms: 1e-6 over all ten, by Student's law of block means with 255 degrees of freedom."""
    limit = stats.t.isf(1e-6 / 2 / len(ADMISSIBLE), 255)
    scores = {}
    for name, r, b in ADMISSIBLE:
        leaves = float(np.prod([2.0**base * rate / (2 * rate - 1) for base, rate in zip(b, r, strict=True)]))
        block = 1 << int(np.ceil(np.log2(1.8e7 / leaves / 256)))
        score, result = _score(name, r, b, 256, block)
        count = int(result.state.leaves.high) * 2**30 + int(result.state.leaves.low)
        assert count > 1e7, (name, count)
        scores[name] = score
    print(scores)
    assert max(map(abs, scores.values())) < limit, scores


@functools.cache
def _many(name, estimator="single", leaves="random", levels="independent", r=0.6):
    params = read.Params(r=(r,), block=1024, estimator=estimator, leaves=leaves, levels=levels)
    return read.replicates(walks.walk(name), params, SEED, np.arange(1 << 18))


def test_a_default_run_is_unbiased():
    """Four z-scores of 2**18 replicates; false alarms 1e-6 in all."""
    limit = stats.t.isf(1e-6 / 8, 63)
    for name, estimator in (("A3", "single"), ("A3", "block"), ("A2", "block"), ("A2", "single")):
        x = np.asarray(_many(name, estimator).value, np.float64)
        means = x.reshape(64, -1).mean(axis=1)
        assert abs(means.mean() - walks.walk(name).exact) / (means.std(ddof=1) / 8) < limit


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("A1", (32.642045, 31.875000, 33.149038)), ("A2", (14.210509, 13.511494, 13.387555)),
        ("A3", (1.232924, 1.351566, 1.711034)),
    ],
)  # fmt: skip
def test_variances_are_those_of_the_closed_form(name, expected):
    for r, variance in zip((0.55, 0.6, 0.65), expected, strict=True):
        params = read.Params(r=(r,), block=16384)
        x = np.asarray(read.replicates(walks.walk(name), params, SEED, np.arange(1 << 22)).value, np.float64)
        assert x.var() == pytest.approx(variance, rel=0.05)


def test_block_sums_and_nets_of_leaves_pay():
    def work(*args, **kwargs):
        ran = _many(*args, **kwargs)
        return np.asarray(ran.value, np.float64).var() * np.asarray(ran.leaves, np.float64).mean()

    for name in ("A1", "A2"):
        assert work(name) > 1.5 * work(name, "block")
    # Each at a good r of its own: nets let levels fall faster, so that a larger r, with fewer leaves, is admissible.
    assert work("A3", r=0.64) > 1.8 * work("A3", leaves="sobol", r=0.74)


def test_systematic_levels_have_less_variance_in_blocks():
    """A1: 32.04 per replicate falls to 22.33 at r = 0.62; 256 blocks know the ratio to 1/8 with some margin."""
    x = np.asarray(_many("A1", levels="systematic", r=0.62).value, np.float64).reshape(256, 1024)
    plain = np.asarray(_many("A1", r=0.62).value, np.float64)
    means = x.mean(axis=1)
    assert 1024 * means.var(ddof=1) < 0.9 * plain.var()
    assert abs(means.mean() - 1.25) / (means.std(ddof=1) / 16) < stats.t.isf(5e-7, 255)


# ---- Deadlines -------------------------------------------------------------------------------------------------------


def test_pooling_at_a_deadline_is_biased_and_the_rule_is_not():
    """A1 at 8, 32 and 128 leaves a worker; false alarms 1e-6 over the three."""
    ran = _many("A1", r=0.62)
    for budget in (8, 32, 128):
        workers = deadline.Workers(*(np.asarray(x).reshape(-1, budget) for x in (ran.value, ran.leaves)))
        mean, error = deadline.rule_mean(workers, budget)
        assert abs(mean - 1.25) < 5.2 * error
        if budget < 128:
            assert deadline.pooled_mean(workers, budget) - 1.25 > 8 * error
    with pytest.raises(ValueError, match="budget must be >= 1"):
        deadline.completed(workers, 0)


# ---- Logarithms ------------------------------------------------------------------------------------------------------


class _LogMean(walks.GaussianWalk):
    """log E[exp y_1 | y_0] = y_0 + s_1**2/2, from leaves y_1 taken as logarithms: gamma_0 = m + s_1**2/2."""

    @property
    def inner(self):
        return "logmeanexp"

    def link(self, d, state, z):
        return z

    def delta(self, d, state, a, b):
        return jnp.log1p(2 * jnp.sinh((a - b) / 4) ** 2)


@pytest.mark.filterwarnings("ignore:.*kurtosis.*", "ignore:.*logarithms.*")
def test_means_of_logarithms_do_not_underflow():
    base = walks.walk("A3")
    problem = _LogMean(jnp.float32(-400), jnp.asarray([0.5, 0.8]), (links.Identity(),) * 2, (0,), (1,))
    x = np.asarray(read.replicates(problem, read.Params(r=(0.6,), b=(2,), block=1024), SEED, np.arange(1 << 15)).value)
    assert np.isfinite(x).all()
    assert base.depth == problem.depth
    # The mean of -400 / p_0 at level 0 has a large spread: look at what is left of it.
    level = x < -100
    kept = np.where(level, x + 400 / 0.6, x).astype(np.float64)
    means = kept.reshape(64, -1).mean(axis=1)
    assert abs(means.mean() - 0.32) / (means.std(ddof=1) / 8) < stats.t.isf(5e-7, 63)
