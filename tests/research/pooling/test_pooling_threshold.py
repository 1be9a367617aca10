"""Weights with an exact mean, soft top-k, generalized sum pooling: worked example, T8, oracles, what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

from research.pooling import gsp, set_bounds, threshold

COSTS = np.array([[0.1, 0.4, 0.9, 0.3], [0.8, 0.2, 0.7, 0.6]])


def test_worked_example(x64):
    @jax.jit
    def plan_and_tangent(costs):
        scores = jax.nn.logsumexp(-5 * costs, axis=0)
        first = jnp.array([1.0, 0, 0, 0], costs.dtype)
        tangent = jax.jvp(lambda a: threshold.threshold_weights(a, 0.5), (scores,), (first,))[1]
        return gsp.plan(costs[None], 0.5, 5.0), tangent

    for dtype, rtol in ((np.float64, 1e-7), (np.float32, 2e-5)):
        found, tangent = plan_and_tangent(COSTS.astype(dtype))
        assert found.weight.dtype == dtype
        np.testing.assert_allclose(found.weight[0], (1.404677155, 1.310397377, 0.269865717, 1.01505975), rtol=rtol)
        np.testing.assert_allclose(found.residual[0], (0.074415356, 0.086200328, 0.216266785, 0.123117531), rtol=rtol)
        np.testing.assert_allclose(found.attributes.sum(), 1, rtol=rtol)
        np.testing.assert_allclose(tangent, (0.309077703, -0.117831301, -0.060881631, -0.130364771), rtol=rtol)


def test_the_plan_is_the_optimum_of_the_transport(x64):
    """Against a general-purpose solver of the entropic problem, whose masses are P and the residual."""
    prototypes, features = COSTS.shape
    gamma, mu = 5.0, 0.5

    def objective(logs):
        plan, residual = np.exp(logs[: COSTS.size]), np.exp(logs[COSTS.size :])
        entropy = (plan * (logs[: COSTS.size] - 1)).sum() + (residual * (logs[COSTS.size :] - 1)).sum()
        return (plan * COSTS.ravel()).sum() + entropy / gamma

    def columns(logs):
        return np.exp(logs).reshape(prototypes + 1, features).sum(axis=0) - 1 / features

    def transported(logs):
        return np.exp(logs[: COSTS.size]).sum() - mu

    solved = scipy.optimize.minimize(
        objective, np.full(COSTS.size + features, -2.5), method="SLSQP", options={"ftol": 1e-14, "maxiter": 500},
        constraints=[{"type": "eq", "fun": columns}, {"type": "eq", "fun": transported}],
    )  # fmt: skip
    assert solved.success
    found = gsp.plan(jnp.asarray(COSTS)[None], mu, gamma)
    np.testing.assert_allclose(found.residual[0], np.exp(solved.x[COSTS.size :]), atol=1e-6)
    by_prototype = np.exp(solved.x[: COSTS.size]).reshape(COSTS.shape).sum(axis=1) / mu
    np.testing.assert_allclose(found.attributes[0], by_prototype, atol=1e-5)


@pytest.fixture(scope="module")
def rows():
    """Scores 1e-2 to 1e5 apart, with all kinds of gaps, for mu from 1e-6 to 1 - 1e-6."""
    rng = np.random.default_rng(0)
    plain = rng.normal(size=(4, 64, 24))
    plain[1] = np.sign(plain[1]) + 1e-3 * plain[1]
    plain[2] = np.clip(rng.standard_cauchy((64, 24)), -10, 10)
    plain[3, :, 0] = 10
    scores = (10.0 ** np.arange(-2, 6))[:, None, None, None] * plain[None]
    mu = np.array([1e-6, 1e-3, 0.01, 0.3, 0.5, 0.9, 0.999, 1 - 1e-6])
    scores = scores.reshape(-1, 1, 24)
    return np.broadcast_to(scores, (len(scores), 8, 24)), np.broadcast_to(mu, (len(scores), 8))


def test_weights_have_mean_one_within_their_limits(rows, x64):
    scores, mu = rows
    shares = jax.jit(threshold.threshold_weights)(scores, mu) * mu[..., None]
    # b is a number near -a, so that its rounding moves a sigmoid by up to |a| eps / 4.
    rounding = np.finfo(float).eps * (1 + np.abs(scores).max(axis=-1))
    assert (np.abs(shares.mean(axis=-1) - mu) <= 4 * rounding).all()
    for mean, weights in zip(mu[0], np.moveaxis(np.asarray(shares / mu[..., None]), 1, 0), strict=True):
        low, high = set_bounds.threshold_limits(mean)
        assert low <= weights.min()
        assert weights.max() <= high * (1 + 1e-15)
    fewer = jax.jit(lambda a, mu: threshold.threshold_weights(a, mu, steps=20))(scores, mu) * mu[..., None]
    assert np.abs(fewer.mean(axis=-1) - mu).max() > 1e-6  # what `STEPS` says of 20


def test_the_derivative_is_that_of_the_solution(x64):
    """Within T8's Lipschitz constant, rows summing to 0; finite differences, and Newton's steps differentiated."""
    rng = np.random.default_rng(1)

    def unrolled(scores, mu):
        shift = jnp.log(mu) - jnp.log1p(-mu) - scores.mean()

        def newton(shift, _):
            share = jax.nn.sigmoid(shift + scores)
            return shift - 0.5 * (share.mean() - mu) / (share * (1 - share)).mean(), None

        shift, _ = jax.lax.scan(newton, shift, length=60)
        return jax.nn.sigmoid(shift + scores) / mu

    weights = jax.jit(threshold.threshold_weights)
    jacobians = [jax.jit(jax.jacfwd(f, argnums=(0, 1))) for f in (threshold.threshold_weights, unrolled)]
    for mu in (0.1, 0.5, 0.8):
        scores = jnp.asarray(rng.normal(size=7))
        (ours, of_mu), (theirs, their_mu) = (jacobian(scores, mu) for jacobian in jacobians)
        np.testing.assert_allclose(ours, theirs, atol=1e-9)
        np.testing.assert_allclose(of_mu, their_mu, atol=1e-9)
        np.testing.assert_allclose(ours.sum(axis=1), 0, atol=1e-13)
        assert np.linalg.norm(ours, 2) <= set_bounds.threshold_lipschitz(mu) * (1 + 1e-12)
        numeric = (weights(scores, mu + 1e-6) - weights(scores, mu - 1e-6)) / 2e-6
        np.testing.assert_allclose(of_mu, numeric, atol=1e-7)
    # Saturated: every slope underflows, the derivative in mu does not.
    far = jnp.array([4e3, 0.0])
    tangent = jax.jvp(lambda mu: mu * threshold.threshold_weights(far, mu), (0.3,), (1.0,))[1]
    np.testing.assert_allclose(tangent, [2, 0], atol=1e-6)


def test_soft_top_k_spends_its_budget(x64):
    rng = np.random.default_rng(2)
    scores, mask = rng.normal(size=(40, 9)), np.arange(9)[None] < rng.integers(1, 10, size=(40, 1))
    soft = jax.jit(lambda k, temperature, mask: threshold.soft_top_k(scores, k, temperature=temperature, mask=mask))
    for k in (1.0, 2.5, 6.0):
        weights = np.asarray(soft(k, 0.1, mask))
        np.testing.assert_allclose(weights.sum(axis=1), np.minimum(k, mask.sum(axis=1)), rtol=1e-12)
        assert weights.min() >= 0
        assert weights.max() <= 1
        assert (weights[~mask] == 0).all()
    cold = soft(3.0, 1e-6, np.ones_like(mask))
    np.testing.assert_allclose(cold, np.argsort(np.argsort(-scores, axis=1), axis=1) < 3, atol=1e-6)
    np.testing.assert_allclose(set_bounds.nearest_weights(jnp.asarray(scores), 3 / 9) / 3, cold, atol=1e-6)


def test_gsp_at_its_limits(x64):
    """mu near 1 or gamma 0: the mean. Large gamma: the nearest features alone."""
    rng = np.random.default_rng(3)
    x, prototypes = rng.normal(size=(5, 8, 3)), rng.normal(size=(4, 3))
    pool = jax.jit(gsp.gsp_pool, static_argnames="reduce")
    plan = jax.jit(lambda mu, gamma: gsp.plan(cost, mu, gamma))
    for mu, gamma in ((1 - 1e-9, 5.0), (0.3, 0.0)):
        np.testing.assert_allclose(pool(x, prototypes, mu, gamma), x.mean(axis=1), atol=1e-8)
    cost = jax.jit(gsp.costs)(x, prototypes)
    unit = [v / np.maximum(np.linalg.norm(v, axis=-1, keepdims=True), 1) for v in (x, prototypes)]
    direct = np.linalg.norm(unit[1][None, :, None] - unit[0][:, None], axis=-1)
    np.testing.assert_allclose(cost, direct, atol=1e-7)
    nearest = set_bounds.nearest_weights(-cost.min(axis=1), 0.25)
    np.testing.assert_allclose(plan(0.25, 1e5).weight, nearest, atol=1e-6)
    found = plan(0.25, 20.0)
    np.testing.assert_allclose(found.residual.sum(axis=1), 0.75, rtol=1e-12)
    weighted = np.asarray(found.weight)[..., None] * x
    floored = np.maximum(weighted, 1e-6)
    expected = {"max": weighted.max(axis=1), "gem": np.cbrt((floored**3).mean(axis=1))}
    for reduce, value in expected.items():
        np.testing.assert_allclose(pool(x, prototypes, 0.25, 20.0, reduce=reduce), value, rtol=1e-9)


def test_greedy_centres_are_spread(x64):
    """Within twice the best radius over all choices of three points."""
    points = np.random.default_rng(4).normal(size=(9, 2))
    distance = np.linalg.norm(points[:, None] - points[None], axis=-1)
    best = min(distance[[a, b, c]].min(axis=0).max() for a in range(9) for b in range(a) for c in range(b))
    centres = np.asarray(gsp.k_centre(jnp.asarray(points), 3))
    radius = np.linalg.norm(points[:, None] - centres[None], axis=-1).min(axis=1).max()
    assert radius <= 2 * best
    np.testing.assert_array_equal(centres[0], points[0])
    assert len(np.unique(gsp.k_centre(jnp.asarray(points), 9), axis=0)) == 9


REFUSED = [
    (lambda: threshold.threshold_weights(Y, 1.0), r"mu must lie in \(0, 1\), got 1\.0\."),
    (lambda: threshold.threshold_weights(Y, 0.0), r"mu must lie in \(0, 1\), got 0\.0\."),
    (
        lambda: threshold.threshold_weights(Y, np.full(3, 0.5)),
        r"mu must be a number or have shape \(2,\), got \(3,\)\.",
    ),
    (lambda: threshold.threshold_weights(Y, 0.5, steps=0), r"steps must be >= 1, got 0\."),
    (lambda: threshold.threshold_weights(Y, 0.5, mask=Y > 0, steps=0), r"steps must be >= 1, got 0\."),
    (lambda: threshold.threshold_weights(Y, 0.5, mask=Y), r"mask must be boolean, got float32\."),
    (lambda: threshold.soft_top_k(Y, 0), r"k must be positive and finite, got 0\."),
    (lambda: threshold.soft_top_k(Y, 1, temperature=0.0), r"temperature must be positive and finite, got 0\.0\."),
    (lambda: gsp.gsp_pool(Y[None], Y, gamma=-1.0), r"gamma must be >= 0, got -1\.0\."),
    (lambda: gsp.gsp_pool(Y[None], Y, mu=1.5), r"mu must lie in \(0, 1\), got 1\.5\."),
    (lambda: gsp.gsp_pool(Y[None], Y[:, :2]), r"prototypes must have shape \(any, 3\), got \(2, 2\)\."),
    (lambda: gsp.gsp_pool(Y[None], Y, reduce="sum"), r"reduce must be one of 'mean', 'max', 'gem', got 'sum'\."),
    (lambda: gsp.k_centre(Y, 3), r"num_centres must lie in \[1, 2\], got 3\."),
    (lambda: gsp.GSP.create(jax.random.key(0), 0), r"dim must be >= 1, got 0\."),
]
Y = np.arange(6, dtype=np.float32).reshape(2, 3)


@pytest.mark.parametrize(("call", "message"), REFUSED)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
