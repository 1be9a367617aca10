"""Forward-backward with and without anchor, and the SVRG method: by hand, against their bounds, and refused input."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize

from research.core import loops, prng, stats
from research.core.status import Status
from research.halpern import bounds, finite_sums, forward_backward, games, proxes, svrg_anchored
from research.halpern.inclusions import Problem

FEATURES = np.array([[1.0, 0], [0, 1], [1, 1], [1, -1]])
TARGETS = np.array([1.0, 2, 3, 0])


def small(regulariser=None):
    inclusion = finite_sums.least_squares(
        jnp.asarray(FEATURES), jnp.asarray(TARGETS), law="uniform", regulariser=regulariser
    )
    return Problem(inclusion, jnp.asarray([2.0, -1.0]))


def gradient(u):
    return FEATURES.T @ (FEATURES @ u - TARGETS) / 4


@pytest.mark.parametrize("anchor", ["halpern", "none"])
def test_first_iterates_by_hand(anchor, x64):
    u = start = np.array([2.0, -1.0])
    for k in range(6):
        moved = np.clip(u - 0.9 * gradient(u), -0.5, 1.25)
        u = start / (k + 2) + (k + 1) / (k + 2) * moved if anchor == "halpern" else moved
    problem = small(proxes.Box(jnp.full(2, -0.5), jnp.full(2, 1.25)))
    params = forward_backward.Params(num_steps=2, stride=3, anchor=anchor, step_size=0.9)
    result = forward_backward.run(problem, params)
    np.testing.assert_allclose(result.u, u, rtol=0, atol=1e-15)
    residual = np.linalg.norm(u - np.clip(u - 0.9 * gradient(u), -0.5, 1.25)) / 0.9
    np.testing.assert_allclose(result.trace.residual[-1], residual, rtol=1e-12)
    assert loops.total(result.state.ledger.calls) == 6 * 4
    assert loops.total(result.state.ledger.monitor_calls) == 3 * 4


def test_anchored_residual_stays_below_its_bound(x64):
    """24 boxes and spectra, every iteration, up to the largest step; solutions by another method."""
    rng, instances = np.random.default_rng(3), 24
    features = rng.normal(size=(instances, 20, 4)) * np.arange(1, 5) ** -np.linspace(0, 2, instances)[:, None, None]
    targets, start = rng.normal(size=(instances, 20)), rng.normal(size=(instances, 4))
    width = np.where(np.arange(instances) % 2, np.inf, 0.3)
    solutions = np.stack(
        [optimize.lsq_linear(x, t, (-w, w), tol=1e-14).x for x, t, w in zip(features, targets, width, strict=True)]
    )
    shares = jnp.asarray(np.linspace(0.2, 2.0, instances))

    @jax.jit
    @jax.vmap
    def play(features, targets, width, start, share):
        box = proxes.Box(-width * jnp.ones(4), width * jnp.ones(4))
        inclusion = finite_sums.least_squares(features, targets, regulariser=box)
        size = share / inclusion.lipschitz_full
        params = forward_backward.Params(num_steps=100, step_size=size)
        return forward_backward.run(Problem(inclusion, start), params).trace.residual * size

    moved = play(features, targets, width, start, shares)
    distance = np.linalg.norm(start - solutions, axis=1)
    bound = bounds.halpern_nonexpansive(np.arange(1, 101)[None], distance[:, None])
    assert (moved <= bound * (1 + 1e-9)).all()


def test_svrg_first_iterates_by_hand(x64):
    """With the momentum's schedule written out, l1 in G, and draws supplied."""
    problem = small(proxes.L1(0.1))
    size = 0.25 / 2  # half of 0.5 / L, L = 2
    rho, coins = 2 * size, [1, 0, 0, 1, 0]
    draws = np.array([(0, 1, 1), (2, 3, 0), (0, 3, 3), (1, 2, 0), (3, 3, 1)])

    def shrink(v):
        return np.sign(v) * np.maximum(np.abs(v) - 0.1 * rho, 0)

    def part(rows, u):
        return FEATURES[rows].T @ (FEATURES[rows] @ u - TARGETS[rows]) / len(rows)

    x = x_old = np.array([2.0, -1.0])
    y = y_old = shrink(x)
    points, calls = [], []
    w = y
    for k, (coin, rows) in enumerate(zip(coins, draws, strict=True)):
        w = y if coin else w
        calls.append(3 * 3 + 4 * coin)
        theta, gamma, beta = (k + 1) / (k + 4), (k + 1) / (k + 2), 2 * size * (k + 2) / (k + 4)
        estimate = (1 - gamma) * (gradient(w) - part(rows, w)) + part(rows, y) - gamma * part(rows, y_old)
        pull = (x - y) / rho - gamma * (x_old - y_old) / rho
        x, x_old, y_old = x + theta * (x - x_old) - beta * (estimate + pull), x, y
        y = shrink(x)
        points.append(y)
    params = svrg_anchored.Params(num_steps=1, batch=3, step_size=size)
    played = svrg_anchored.replay(problem, params, np.array(coins), draws[..., None])
    np.testing.assert_allclose(played.points, points, rtol=0, atol=1e-14)
    np.testing.assert_array_equal(played.calls, np.cumsum(calls))


def test_svrg_decays_like_one_over_k(x64):
    """Residual and distance to the solution, from 256 iterations to 1280: nothing is proved of the constant."""
    params = svrg_anchored.Params(num_steps=20)
    result = jax.jit(svrg_anchored.run)(small(), params, prng.root_key(0))
    k = 64 * np.arange(1, 21)
    assert stats.rate_fit(k[3:], result.trace.residual[3:]).slope < -0.9
    assert np.linalg.norm(result.u - np.array([4 / 3, 5 / 3])) < 20 / k[-1]
    assert result.status == Status.OK


@pytest.mark.parametrize("method", [forward_backward, svrg_anchored], ids=["forward_backward", "svrg_anchored"])
def test_refusals(method):
    problem, params = method.example(prng.root_key(0))
    with pytest.raises(ValueError, match=r"Params\.step_size must be <= .*, the certified limit"):
        method.init(problem, dataclasses.replace(params, step_size=100.0), prng.root_key(0))
    with pytest.raises(ValueError, match=r"Params\.step_size must be positive and finite, got -1\.0"):
        dataclasses.replace(params, step_size=-1.0)
    with pytest.raises(ValueError, match=r"Params\.stride must be <= "):
        method.init(problem, dataclasses.replace(params, stride=2**29), prng.root_key(0))
    game = games.matrix_game(jnp.asarray([[2.0, -1.0], [-1.0, 1.0]]))
    with pytest.raises(ValueError, match=r"Params\.unsafe must be True for an inclusion that is not cocoercive"):
        method.init(Problem(game, (jnp.full(2, 0.5), jnp.full(2, 0.5))), params, prng.root_key(0))


def test_bad_fields_are_named():
    with pytest.raises(ValueError, match=r"Params\.anchor must be one of 'halpern', 'none', got 'tseng'"):
        forward_backward.Params(num_steps=1, anchor="tseng")
    with pytest.raises(ValueError, match=r"Params\.probability must lie in \(0, 1\), got 1\.0"):
        svrg_anchored.Params(num_steps=1, probability=1.0)
    with pytest.raises(ValueError, match=r"Params\.batch must be >= 1, got 0"):
        svrg_anchored.Params(num_steps=1, batch=0)
    problem, params = svrg_anchored.example(prng.root_key(0))
    draws = np.zeros((2, 9, 1), np.int32)
    with pytest.raises(ValueError, match=r"coins\[0\] must be 1, there being no snapshot yet, got 0"):
        svrg_anchored.replay(problem, params, np.array([0, 1]), draws)
    with pytest.raises(ValueError, match=r"indices must lie in \[0, 26\], got 27"):
        svrg_anchored.replay(problem, params, np.array([1, 1]), draws + 27)
