"""Stochastic pooling of bags: worked example, proven bias (T13), exactness on full bags, overflow, what is refused."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.core import prng
from research.pooling import multi_instance, robust_bounds, stochastic, stochastic_attention
from research.pooling.multi_instance import Params, Problem
from research.pooling.stochastic import LinearScorer
from research.pooling.stochastic_attention import AttentionScorer, Quotient

NEVER = -1e30


def test_worked_example(x64):
    unset, first = jnp.float64(NEVER), None
    for batch, value in (((0.2, 0.4), 0.257253778), ((0.1, 0.9), 0.617627301)):
        fresh = stochastic.smoothed_max(jnp.array(batch), 0.5) / 0.5
        unset = stochastic.average(unset, fresh, jnp.float64(0.9), jnp.asarray(False))
        np.testing.assert_allclose(0.5 * unset, value, rtol=1e-8)
        if first is None:
            first = 0.5 * stochastic.average(jnp.float64(NEVER), fresh, jnp.float64(0.9), jnp.asarray(True))
            np.testing.assert_allclose(first, 0.5 * np.log(np.mean(np.exp(np.array(batch) / 0.5))), rtol=1e-12)


def test_bias_of_minibatches_is_within_its_limits(x64):
    """T13, with exact expectations: over all minibatches without replacement, and over all pairs of two visits."""
    rng = np.random.default_rng(0)
    scores = 0.3 * rng.normal(size=(10, 6))
    for scale, batch in itertools.product((0.1, 0.5), (1, 2, 3, 6)):
        subsets = np.array(list(itertools.combinations(range(6), batch)))
        means = np.exp(scores / scale)[:, subsets].mean(axis=2)
        true = scale * np.log(np.exp(scores / scale).mean(axis=1))
        bias = scale * np.log(means).mean(axis=1) - true
        limit = robust_bounds.smoothed_max_bias(scores, scale, batch)
        assert (bias <= 1e-12).all()
        assert (bias >= limit.lower - 1e-12).all()
        gamma = 0.4
        pairs = (1 - gamma) * means[:, :, None] + gamma * means[:, None]
        averaged = scale * np.log(pairs).mean(axis=(1, 2)) - true
        limit = robust_bounds.smoothed_max_bias(scores, scale, batch, gamma, step=1)
        assert (averaged >= limit.lower - 1e-12).all()
        assert (averaged <= 1e-12).all()
    # The first term is the whole of it when scores are close.
    close = 1e-3 * scores
    subsets = np.array(list(itertools.combinations(range(6), 2)))
    bias = np.log(np.exp(close)[:, subsets].mean(axis=2)).mean(axis=1) - np.log(np.exp(close).mean(axis=1))
    np.testing.assert_allclose(robust_bounds.smoothed_max_bias(close, 1.0, 2).leading, bias, rtol=0.02)


def problem(scorer, dtype=None):
    data = multi_instance.bag_problem(prng.root_key(1), scorer, 8, 5, 3)
    mask = np.arange(5)[None] < np.array([5, 4, 3, 5, 1, 5, 2, 5])[:, None]
    found = dataclasses.replace(data, mask=jnp.asarray(mask))
    return found if dtype is None else jax.tree.map(lambda leaf: _as(leaf, dtype), found)


def _as(leaf, dtype):
    return leaf.astype(dtype) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf


CASES = {
    "smoothed maximum": (stochastic, lambda: LinearScorer.create(prng.root_key(2), 3)),
    "attention": (stochastic_attention, lambda: AttentionScorer.create(prng.root_key(2), 3, 4)),
}


def full_score(name, found, params, scorer):
    extra = (params.temperature,) if name == "smoothed maximum" else ()
    return CASES[name][0].bag_scores(found, scorer, *extra)


@pytest.mark.parametrize("name", CASES)
def test_a_step_on_everything_is_the_gradient_of_the_loss(name, x64):
    """All bags, all instances, no memory: the min-max loss, differentiated by the library alone."""
    module, scorer = CASES[name]
    found = problem(scorer(), jnp.float64)
    params = Params(num_steps=1, bags=4, instances=5, averaging=1.0, temperature=0.3, momentum=0.0, learning_rate=0.1)
    state = module.init(found, params, prng.root_key(3))
    begun = state._replace(saddle=state.saddle._replace(means=jnp.array([0.4, 0.2]), dual=jnp.float64(0.7)))
    after, info = jax.jit(module.step)(found, params, begun)

    @jax.jit
    def loss(variables):
        scorer, means = variables
        h = full_score(name, found, params, scorer)
        positive, negative = h[found.positive.nonzero(size=4)], h[(~found.positive).nonzero(size=4)]
        spread = jnp.mean((positive - means[0]) ** 2) + jnp.mean((negative - means[1]) ** 2)
        return spread + 0.7 * (negative.mean() - positive.mean()), (positive.mean(), negative.mean())

    slope, (high, low) = jax.jit(jax.grad(loss, has_aux=True))((begun.saddle.scorer, begun.saddle.means))
    expected = jax.tree.map(lambda p, g: p - 0.1 * g, (begun.saddle.scorer, begun.saddle.means), slope)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12),
        (after.saddle.scorer, after.saddle.means), expected,
    )  # fmt: skip
    np.testing.assert_allclose((info.positive, info.negative), (high, low), rtol=1e-10)
    np.testing.assert_allclose(after.saddle.dual, max(0, 0.7 + 1.0 * (0.5 + low - high - 0.7)), rtol=1e-10)
    assert after.visited.all()


@pytest.mark.parametrize("name", CASES)
def test_scores_of_hundreds_overflow_nothing(name):
    module, scorer = CASES[name]
    found = problem(jax.tree.map(lambda leaf: 300 * leaf, scorer()))
    params = Params(num_steps=8, bags=3, instances=2, averaging=0.5, temperature=0.01, learning_rate=1e-3)
    result = jax.jit(lambda key: module.run(found, params, key))(prng.root_key(4))
    assert result.status == 0
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((result.trace, result.scorer)))


def test_averages_of_quotients_are_averages_of_sums(x64):
    rng = np.random.default_rng(5)
    logit, value = 3 * rng.normal(size=(2, 2, 7)), rng.normal(size=(2, 2, 7))
    old, new = (stochastic_attention.quotient(a, v) for a, v in zip(logit, value, strict=True))
    found = stochastic_attention.average(old, new, 0.3, jnp.array([False, True]))
    sums = [np.stack([(np.exp(a) * v).mean(-1), np.exp(a).mean(-1)]) for a, v in zip(logit, value, strict=True)]
    expected = np.where([False, True], sums[1], 0.7 * sums[0] + 0.3 * sums[1])
    scale = np.exp(found.log_scale)
    np.testing.assert_allclose((found.numerator * scale, found.denominator * scale), expected, rtol=1e-12)
    assert isinstance(found, Quotient)


def test_samples_are_valid_and_of_both_classes():
    found = problem(LinearScorer.create(prng.root_key(2), 3))
    params = Params(num_steps=1, bags=3, instances=2)
    drawn = jax.jit(jax.vmap(lambda key: multi_instance.sample(found, params, key)))(
        prng.replicate_keys(prng.root_key(6), 64)
    )
    bag = np.asarray(drawn.bag)
    assert all(len(set(row)) == 6 for row in bag)
    np.testing.assert_array_equal(np.asarray(found.positive)[bag], np.tile([True] * 3 + [False] * 3, (64, 1)))
    seen = np.asarray(drawn.mask).sum(axis=-1)
    np.testing.assert_array_equal(seen, np.minimum(2, np.asarray(found.mask).sum(axis=1))[bag])
    assert len(np.unique(bag)) == 8


def test_area_under_the_curve_counts_pairs(x64):
    score, positive = jnp.array([3.0, 1, 2, 2, 0]), jnp.array([True, False, True, False, False])
    # Pairs: 3 beats 1, 2, 0; 2 beats 1 and 0 and ties with 2.
    np.testing.assert_allclose(multi_instance.area_under_curve(score, positive), 5.5 / 6, rtol=1e-14)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"temperature": 0.0}, r"Params\.temperature must be positive and finite, got 0\.0\."),
        ({"averaging": 0.0}, r"Params\.averaging must lie in \(0, 1\], got 0\.0\."),
        ({"momentum": 1.0}, r"Params\.momentum must lie in \[0, 1\), got 1\.0\."),
        ({"bags": 5}, r"Params\.bags must be <= 4, the bags of the rarer class, got 5\."),
        ({"instances": 6}, r"Params\.instances must lie in \[1, 5\], got 6\."),
    ],
)
def test_what_makes_no_sense_is_refused(change, message):
    found = problem(LinearScorer(jnp.ones(3), jnp.zeros(())))
    with pytest.raises(ValueError, match=message):
        stochastic.init(found, Params(**({"num_steps": 1, "bags": 2, "instances": 2} | change)), prng.root_key(0))


def test_empty_bags_and_bad_limits_are_refused():
    found = problem(LinearScorer(jnp.ones(3), jnp.zeros(())))
    empty = Problem(found.instances, found.positive, found.mask.at[2].set(False), found.scorer)
    with pytest.raises(ValueError, match=r"Problem\.mask must leave an instance in every bag"):
        stochastic.init(empty, Params(num_steps=1, bags=2, instances=2), prng.root_key(0))
    with pytest.raises(ValueError, match=r"batch must lie in \[1, 3\], got 4"):
        robust_bounds.smoothed_max_bias(np.ones(3), 0.1, 4)
    with pytest.raises(ValueError, match=r"averaging must lie in \(0, 1\], got 2\."):
        robust_bounds.smoothed_max_bias(np.ones(3), 0.1, 2, 2.0)
