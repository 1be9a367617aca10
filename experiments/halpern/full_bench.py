"""Iterations of the methods that evaluate the full operator, against the same iterations in NumPy: BLAS on both sides.

`full_extragradient` and `full_reflected`: a centred game of rank 5; NumPy projects by sweeps as we do.
`full_forward_backward`: Halpern's iteration on least squares with 50 columns and no constraint.
Both sides start alike, and the points that they end at are compared before anything is timed.
"""

import jax
import jax.numpy as jnp
import numpy as np

from pallas_kernels._bench import Case, Work
from research.core import prng
from research.halpern import extragradient, forward_backward, forward_reflected, games
from research.halpern.inclusions import Problem

__all__ = ["cases", "numpy_simplex"]

#: Multiplications of numbers by matrices in a call, so that short iterations are many.
_PRODUCTS = 1 << 28
#: Of the points that two sides reach in single precision, entry by entry.
_AGREE = 2e-4


def cases(problem_of, quick):
    """Games that fill a core's cache and twice that; least squares within it and, but for `quick`, far beyond.

    Args:
      problem_of: `(rows) -> features, targets` and the model of least squares on them.
    """
    for size in (400,) if quick else (400, 1_024):
        game = _game(size)
        problem = Problem(game, games.uniform_start(game))
        for name, method, products, peer in (
            ("extragradient", extragradient, 2, _numpy_extragradient),
            ("reflected", forward_reflected, 1, _numpy_reflected),
        ):
            count = max(8, _PRODUCTS // (2 * size**2 * products) // (8 if quick else 1))
            yield _case(
                name, method, problem, count, (size, size), peer(game, count), 4 * size**2 * products,
                8 * size**2 * products, "game of rank 5",
            )  # fmt: skip
    for rows in (2_000,) if quick else (2_000, 200_000):
        features, targets, model = problem_of(rows)
        count = max(8, _PRODUCTS // (2 * features.size) // (8 if quick else 1))
        problem = Problem(model, jnp.zeros(features.shape[1], jnp.float32))
        step_size = np.float32(1 / model.lipschitz_full)
        yield _case(
            "forward_backward", forward_backward, problem, count, features.shape,
            _numpy_forward_backward(features, targets, step_size, count), 4 * features.size, 4 * features.size,
            "least squares",
        )  # fmt: skip


def _case(name, method, problem, count, shape, numpy_call, flops, traffic, note):
    params = method.Params(num_steps=1, stride=count)
    state = method.init(problem, params, prng.root_key(0))
    run = jax.jit(method.step)
    ours, theirs = run(problem, params, state)[0].u, numpy_call()
    for one, other in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        if not np.allclose(one, other, rtol=0, atol=_AGREE):
            raise AssertionError(f"full_{name}: the two sides end {np.max(np.abs(one - other)):.1e} apart.")
    amounts = {"flops": float(flops) * count, "traffic": float(traffic) * count}
    works = {
        "jax": Work(lambda: jax.block_until_ready(run(problem, params, state)), count, **amounts),
        "numpy": Work(numpy_call, count, **amounts),
    }
    return Case(f"full_{name}", "iterations", tuple(shape), works, note)


def _game(size):
    rng = np.random.default_rng(0)
    matrix = rng.standard_normal((size, 5)) @ rng.standard_normal((5, size))
    return games.matrix_game(jnp.asarray(matrix, jnp.float32))


def numpy_simplex(v):
    """The projection of a vector onto the simplex of its length, by sweeps."""
    size, one = len(v), v.dtype.type(1)
    threshold, count = (v.sum() - one) / v.dtype.type(size), size
    while True:
        above = np.count_nonzero(v > threshold)
        threshold = threshold + (np.maximum(v - threshold, 0).sum() - one) / v.dtype.type(max(above, 1))
        if above >= count:
            return np.maximum(v - threshold, 0)
        count = above


def _numpy_operator(game):
    rows, columns, row_cost, column_cost = (
        np.asarray(array) for array in (game.rows, game.columns, game.row_cost, game.column_cost)
    )
    return lambda x, y: (columns @ y + row_cost, -(rows @ x) - column_cost)


def _residual(operator, x, y):
    """The natural residual, which our stride ends with."""
    in_x, in_y = operator(x, y)
    return np.hypot(np.linalg.norm(x - numpy_simplex(x - in_x)), np.linalg.norm(y - numpy_simplex(y - in_y)))


def _start(game):
    return tuple(np.asarray(part) for part in games.uniform_start(game))


def _numpy_extragradient(game, iterations):
    operator, eta = _numpy_operator(game), np.float32(0.9 / game.lipschitz_full)

    def call():
        x, y = _start(game)
        for _ in range(iterations):
            in_x, in_y = operator(x, y)
            half = numpy_simplex(x - eta * in_x), numpy_simplex(y - eta * in_y)
            in_x, in_y = operator(*half)
            x, y = numpy_simplex(x - eta * in_x), numpy_simplex(y - eta * in_y)
        _residual(operator, x, y)
        return x, y

    return call


def _numpy_reflected(game, iterations):
    operator, eta, two = _numpy_operator(game), np.float32(0.45 / game.lipschitz_full), np.float32(2)

    def call():
        x, y = _start(game)
        old_x, old_y = operator(x, y)
        for _ in range(iterations):
            in_x, in_y = operator(x, y)
            x, y = numpy_simplex(x - eta * (two * in_x - old_x)), numpy_simplex(y - eta * (two * in_y - old_y))
            old_x, old_y = in_x, in_y
        _residual(operator, x, y)
        return x, y

    return call


def _numpy_forward_backward(features, targets, step_size, iterations):
    rows, one = np.float32(len(features)), np.float32(1)

    def call():
        start = u = np.zeros(features.shape[1], np.float32)
        for k in range(iterations):
            pull = one / np.float32(k + 2)
            u = pull * start + (one - pull) * (u - step_size * (((features @ u - targets) @ features) / rows))
        np.linalg.norm((features @ u - targets) @ features)
        return u

    return call
