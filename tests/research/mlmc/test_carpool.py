"""CARPool: the worked example, what beta costs, what cross-fitting removes, intervals, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.mlmc import carpool

Y = np.array([(1, 2), (2, 1), (4, 3), (3, 5)], np.float64)
C = np.array([(1, 1), (2, 0), (3, 2), (3, 4)], np.float64)
MU = np.array((2, 1.5))


#: Compiled: operation by operation they take ten times as long.
COEFFICIENTS = jax.jit(carpool.coefficients, static_argnames=("kind", "width", "smoothing"))


def gaussian(seed, trials, n, correlation, controls=1):
    """Pairs `[trials, n]` with y on the mean of the controls; R^2 = correlation^2 and E y = 0."""
    rng = np.random.default_rng(seed)
    c = rng.standard_normal((trials, n, controls))
    own = np.sqrt(1 - correlation**2) * rng.standard_normal((trials, n, 1))
    return correlation * c.sum(axis=2, keepdims=True) / np.sqrt(controls) + own, c


def log_normal(seed, trials, n, sigma=0.5, correlation=0.9):
    """y = exp(sigma w), c = exp(sigma z), correlated normals; with the means, which are equal."""
    rng = np.random.default_rng(seed)
    z, own = rng.standard_normal((2, trials, n, 1))
    w = correlation * z + np.sqrt(1 - correlation**2) * own
    return np.exp(sigma * w), np.exp(sigma * z), np.exp(sigma**2 / 2)


def estimates(y, c, mu, kind="diagonal", **options):
    found = jax.jit(
        jax.vmap(lambda a, b: carpool.estimate(a, b, jnp.asarray(mu), kind, validate=False, **options))
    )(y, c)  # fmt: skip
    return np.asarray(found.mean)[:, 0], np.asarray(found.error)[:, 0]


def test_the_worked_example(x64):
    found = carpool.estimate(Y, C, MU)
    np.testing.assert_allclose(np.diag(found.beta), [1.272727, 1.0], atol=5e-7)
    np.testing.assert_allclose(found.mean, [2.181818, 2.5], atol=5e-7)
    # Four pairs and two controls have a full beta, and no variance: the coefficients are asked for alone.
    full = np.asarray(COEFFICIENTS(Y, C, "full"))
    np.testing.assert_allclose(full, [[1.425926, -0.129630], [0, 1]], atol=5e-7)
    np.testing.assert_allclose(Y.mean(axis=0) - full @ (C.mean(axis=0) - MU), [2.175926, 2.5], atol=5e-7)


def test_a_hybrid_lies_between_diagonal_and_full(x64):
    """And all kinds are the least squares that NumPy finds, also where the statistics differ by ten decades."""
    rng = np.random.default_rng(0)
    c = rng.standard_normal((40, 6)) @ rng.standard_normal((6, 6)) * 10.0 ** np.arange(-5, 7, 2)
    y = rng.standard_normal((40, 6)) + c / np.ptp(c, axis=0)
    around_c, around_y = c - c.mean(axis=0), y - y.mean(axis=0)

    def expected(k, columns):
        row = np.zeros(6)
        row[columns] = np.linalg.lstsq(around_c[:, columns] * 10.0 ** -np.arange(-5, 7, 2)[columns], around_y[:, k])[0]
        return row * 10.0 ** -np.arange(-5, 7, 2)

    for kind, width in (("diagonal", 0), ("hybrid", 1), ("full", 5)):
        found = np.asarray(COEFFICIENTS(y, c, kind, width=max(width, 1)))
        for k in range(6):
            columns = np.arange(max(k - width, 0), min(k + width + 1, 6))
            np.testing.assert_allclose(found[k], expected(k, columns), rtol=1e-8, atol=0, err_msg=kind)


def test_smoothing_is_a_flat_mean_over_the_neighbours_that_exist(x64):
    rng = np.random.default_rng(1)
    y, c = rng.standard_normal((2, 20, 6))
    raw, smooth = (np.diag(COEFFICIENTS(y, c, smoothing=s)) for s in (1, 5))
    np.testing.assert_allclose(smooth, [raw[max(k - 2, 0) : k + 3].mean() for k in range(6)], rtol=1e-12)


def test_the_mean_of_the_samples_is_the_estimate_and_a_shift_moves_it(x64):
    found = carpool.estimate(Y, C, MU)
    np.testing.assert_allclose(found.samples.mean(axis=0), found.mean, rtol=1e-12)
    np.testing.assert_allclose(carpool.estimate(Y + 3, 2 * C + 1, 2 * MU + 1).mean, found.mean + 3, rtol=1e-12)


@pytest.mark.parametrize(("n", "controls"), [(8, 1), (12, 3)])
def test_what_an_estimated_beta_costs(n, controls, x64):
    """Variance over 40,000 trials against the exact one: six standard errors of a variance with kurtosis below 6, whose
    false alarms are below 1e-6; the reported errors are right in the mean square by the same margin."""
    trials, correlation, surrogates = 40_000, 0.9, 20
    y, c = gaussian(n, trials, n, correlation, controls)
    mu = np.zeros(controls)
    mean, error = estimates(y, c, mu, "full")
    expected = carpool.predicted_variance(1.0, correlation**2, n, controls)
    assert expected == pytest.approx((1 - 0.81) * (n - 2) / (n - controls - 2) / n)
    margin = 6 * np.sqrt(5 / trials)
    assert mean.var() == pytest.approx(expected, rel=margin)
    assert (error**2).mean() == pytest.approx(expected, rel=margin)
    # A surrogate mean of 20 runs of its own, drawn from its law.
    other = np.random.default_rng(9).standard_normal((trials, 1, controls)) / np.sqrt(surrogates)
    with_own = mean + _fitted(y, c, other)
    assert with_own.var() == pytest.approx(
        carpool.predicted_variance(1.0, correlation**2, n, controls, surrogates), rel=margin
    )


def _fitted(y, c, mu):
    beta = jax.jit(jax.vmap(lambda a, b: carpool.coefficients(a, b, "full")))(y, c)
    return np.einsum("tq,tq->t", np.asarray(beta)[:, 0], mu[:, 0])


def test_what_cross_fitting_costs(x64):
    trials, n = 40_000, 16
    y, c = gaussian(3, trials, n, 0.9)
    best = (1 - 0.81) / n
    halves, one_out = (estimates(y, c, np.zeros(1), folds=folds)[0].var() / best for folds in (2, n))
    margin = 6 * np.sqrt(5 / trials)
    assert halves == pytest.approx(carpool.cross_fitted_factor(n), rel=margin)
    assert carpool.variance_factor(n) * (1 - margin) < one_out < halves


def test_the_same_pairs_bias_the_estimate_and_cross_fitting_does_not(x64):
    """Log-normal pairs, n = 32, estimates with the best beta taken off, whose mean is 0. The bias of one beta agrees
    with its first order but for the next (a tenth here); that of cross-fitted ones is 0. Margins: six standard errors.
    """
    trials, n = 20_000, 32
    y, c, mean = log_normal(4, trials, n)
    covariance = np.exp(0.25) * np.expm1(0.25 * 0.9)
    beta = covariance / (np.exp(0.25) * np.expm1(0.25))
    residual = (y - mean - beta * (c - mean)).ravel()
    first = float(carpool.same_sample_bias(jnp.asarray(residual), jnp.asarray(c.ravel()), n))
    for folds in (1, 2):
        found, _ = estimates(y, c, np.array([mean]), folds=folds)
        off = found - mean - residual.reshape(trials, n).mean(axis=1)
        bias, error = off.mean(), off.std() / np.sqrt(trials)
        if folds == 1:
            assert bias > 6 * error
            assert abs(bias - first) < 0.15 * first + 6 * error
        else:
            assert abs(bias) < 6 * error


def test_intervals_cover(x64):
    """Student's interval of 2,000 trials of 10 Gaussian pairs at 90 %: within 4.9 binomial standard errors and two per
    cent for the heavier tails of the estimate."""
    y, c = gaussian(6, 2000, 10, 0.8)
    mean, error = estimates(y, c, np.zeros(1))
    one = carpool.estimate(y[0], c[0], np.zeros(1))
    student = carpool.interval(one, 0.9, "t")
    quantile = float((student.high - student.mean)[0] / one.error[0])
    assert np.mean(np.abs(mean) < quantile * error) == pytest.approx(0.9, abs=0.02 + 4.9 * np.sqrt(0.09 / 2000))
    normal = carpool.interval(one, 0.9)
    assert normal.kind == "z"
    assert (normal.high - normal.low)[0] == pytest.approx(2 * 1.6448536269514722 * float(one.error[0]))


def test_the_bootstrap_interval_is_as_wide_as_the_normal_one(x64):
    y, c = gaussian(7, 1, 60, 0.9)
    found = carpool.bootstrap_interval(y[0], c[0], np.zeros(1), seed=0)
    normal = carpool.interval(carpool.estimate(y[0], c[0], np.zeros(1)))
    assert (found.kind, found.n) == ("BCa", 60)
    np.testing.assert_allclose(found.mean, normal.mean)
    np.testing.assert_allclose(found.high - found.low, normal.high - normal.low, rtol=0.25)


def test_effective_volume():
    assert carpool.effective_volume(0.8) == pytest.approx(5)
    assert carpool.controls("hybrid", 4, 3) == carpool.controls("full", 4) == 4
    assert carpool.controls("diagonal", 4) == 1


def _call(y=Y, c=C, mu=MU, kind="diagonal", **options):
    return lambda: carpool.estimate(y, c, mu, kind, **options)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (_call(y=Y[:3], c=C[:3]), r"number of pairs n must be >= 4 for 1 controls, got 3"),
        (_call(kind="full"), r"number of pairs n must be >= 5 for 2 controls, got 4"),
        (_call(folds=2), r"number of pairs outside each of 2 folds must be >= 4 for 1 controls, got 2"),
        (_call(c=C[:, :1]), r"c must have shape \(4, 2\), got \(4, 1\)"),
        (_call(c=C[:3]), r"c must have shape \(4, 2\), got \(3, 2\)"),
        (_call(y=Y[0]), r"y must have shape \(any, any\), got \(2,\)"),
        (
            _call(c=np.array([[1, k] for k in range(4)])),
            r"c must vary in every column, got a constant in column\(s\) \[0\]",
        ),
        (_call(mu=MU[:1]), r"mu must have shape \(2\), got \(1,\)"),
        (_call(y=np.where(Y == 5, np.nan, Y)), r"y must be finite, got nan at index \(3, 1\)"),
        (_call(kind="banded"), r"kind must be one of 'diagonal', 'hybrid', 'full', got 'banded'"),
        (_call(smoothing=4), r"smoothing must be odd and positive, got 4"),
        (_call(smoothing=5, kind="hybrid"), r"smoothing must be 1 for a hybrid beta, got 5"),
        (_call(folds=5), r"folds must lie in \[1, 4\], the number of pairs, got 5"),
        (_call(num_surrogates=0), r"num_surrogates must be >= 1, got 0"),
        (lambda: carpool.variance_factor(4, 2), r"n must be >= 5 for 2 controls, got 4"),
        (lambda: carpool.cross_fitted_factor(7), r"n must be even and >= 8, got 7"),
    ],
)
def test_bad_input_is_told_in_one_line(call, message):
    with pytest.raises(ValueError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
