"""Iterations of this family's methods against tuned vectorised NumPy iterations, on one core.

`page_*`: Algorithm 1 on least squares with 50 columns, uniform draws, the paper's schedules far from the start.
`refreshed` has full evaluations at their stationary rate 4 / (sqrt(n) + 5); `batches` has none, what an iteration costs
between two of them. Both sides draw their own indices, in chunks, and compute one residual in 512 iterations. NumPy
gathers into a buffer that it keeps, several times as fast as indexing where X is large, and its large arrays lie in
huge pages. On 200,000 rows both sides wait for the memory. An iteration with refreshes reads 440 kB of X, 570 kB as we
store it, and NumPy takes 125 us for it: three times its rate would be 70 to 90 % of the 15 GB/s at which the memory
copies on the machine of the published rows, and between refreshes 30 to 40 % of it, at random rows of 200 bytes.
`page_lanes`: eight lanes with shared coins against one, both ours; once with indices of their own, once with those of
one lane, as a sweep of starts or steps has them.

`vr_forb`: the resolvent of a centred game of rank 5, one row and one column an iteration, drawn by their norms; NumPy
projects by sweeps as we do, and draws by an inverse cumulative law.

`full_bench` has the methods that evaluate the full operator, `lp_bench` the linear programs.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from experiments.halpern import full_bench, lp_bench
from pallas_kernels._bench import Case, Work
from research.core import prng
from research.halpern import finite_sums, games, lanes, page, schedules, vr_forb
from research.halpern.subproblem import Subproblem

COLUMNS, ITERATIONS, LANES = 50, 512, 8
INNER_ITERATIONS = 16_384


def cases(tables, quick):
    """2,000 rows, which stay in a core's cache, and 200,000, which do not; lanes; games; full operators; programs."""
    del tables
    for rows in (2_000,) if quick else (2_000, 200_000):
        yield from _page_cases(rows)
    yield _lanes_case(2_000)
    for size in (400,) if quick else (400, 1_024):
        yield _vr_forb_case(size, INNER_ITERATIONS // (8 if quick else 1))
    yield from full_bench.cases(_model, quick)
    yield from lp_bench.cases(quick)


def _least_squares(rows):
    """Features and targets."""
    rng = np.random.default_rng(0)
    turn, _ = np.linalg.qr(rng.normal(size=(COLUMNS, COLUMNS)))
    signs = rng.choice([-1.0, 1.0], size=(rows, COLUMNS)) / np.arange(1, COLUMNS + 1)
    features = (signs @ turn.T).astype(np.float32)
    targets = (features @ turn.sum(axis=1) + 0.1 * rng.normal(size=rows)).astype(np.float32)
    return features, targets


def _model(rows):
    """Features, targets and the problem of uniform draws."""
    features, targets = _least_squares(rows)
    return features, targets, finite_sums.least_squares(features, targets, law="uniform")


def _page_cases(rows):
    rng = np.random.default_rng(1)
    features, targets = _least_squares(rows)
    batch = schedules.batch_size(rows, certified=False)
    rate = 4 / (np.sqrt(rows) + 5)
    for name, refresh in (("refreshed", None), ("batches", schedules.Refresh(1e-30, 1e-30))):
        coins = np.zeros(ITERATIONS, bool) if refresh else rng.random(ITERATIONS) < rate
        share = 0.0 if refresh else rate
        read = ITERATIONS * COLUMNS * ((1 - share) * batch + share * rows)  # numbers of X
        works = {
            "jax": Work(_ours(features, targets, batch, refresh), ITERATIONS, flops=4 * read, traffic=4 * read),
            "numpy": Work(_numpy(features, targets, batch, coins), ITERATIONS, flops=4 * read, traffic=4 * read),
        }
        note = f"batch {batch}, {'full at the rate 4 / (sqrt(n) + 5)' if refresh is None else 'no full evaluation'}"
        yield Case(f"page_{name}", "iterations", (rows, COLUMNS), works, note)


def _lanes_case(rows):
    features, targets = _least_squares(rows)
    batch = schedules.batch_size(rows, certified=False)
    works = {
        "jax": Work(_ours(features, targets, batch, None), ITERATIONS),
        f"jax, {LANES} lanes": Work(_ours(features, targets, batch, None, LANES), ITERATIONS * LANES),
        f"jax, {LANES} lanes, one batch": Work(_ours(features, targets, batch, None, LANES, True), ITERATIONS * LANES),
    }
    return Case("page_lanes", "iterations of a lane", (rows, COLUMNS), works, f"batch {batch}")


def _ours(features, targets, batch, refresh, num_lanes=None, shared=False):
    inclusion = finite_sums.least_squares(features, targets, law="uniform")
    problem = page.Problem(inclusion, jnp.zeros(COLUMNS, jnp.float32))
    step_size = 0.5 / inclusion.lipschitz
    params = page.Params(
        num_steps=1, stride=ITERATIONS, batch=batch, refresh=refresh, step_size=step_size, unsafe=refresh is not None
    )
    if num_lanes is None:
        run, state = page.run, page.init(problem, params, prng.root_key(0))
    else:
        run = functools.partial(lanes.run, page, num_lanes=num_lanes, shared_draws=shared)
        state = lanes.init(page, problem, params, prng.root_key(0), num_lanes, shared_draws=shared)
    run = jax.jit(run)
    estimate = jnp.broadcast_to(inclusion.full(problem.start), state.u.shape)
    state = state._replace(step=jnp.int32(100), estimate=estimate)  # schedules are constant there
    if shared:  # a lane's path is its own
        apart = 1e-3 * jax.random.normal(prng.root_key(1), state.u.shape)
        state = state._replace(u=state.u + apart, previous=state.previous + apart)
    return lambda: jax.block_until_ready(run(problem, params, state=state).u)


def _numpy(features, targets, batch, coins):
    rows = len(features)
    step_size, weight = np.float32(0.5 / np.max((features**2).sum(axis=1))), np.float32(1 / batch)
    first = (targets @ features) / np.float32(-rows)

    def call():
        draws = np.random.default_rng(1).integers(rows, size=(ITERATIONS, batch))
        chosen = np.empty((batch, COLUMNS), np.float32)
        start = np.zeros(COLUMNS, np.float32)
        u = previous = start
        estimate = first
        for k in range(ITERATIONS):
            if coins[k]:
                estimate = ((features @ u - targets) @ features) / np.float32(rows)
            else:
                features.take(draws[k], axis=0, out=chosen, mode="clip")
                estimate = estimate + ((chosen @ (u - previous)) @ chosen) * weight
            share = np.float32(2 / (k + 51_204))
            forward = share * start + (1 - share) * u - step_size * estimate
            previous, u = u, forward
        residual = ((features @ u - targets) @ features) / np.float32(rows) + (forward - u) / step_size
        return u, np.linalg.norm(residual)

    return call


def _vr_forb_case(size, iterations):
    rng = np.random.default_rng(0)
    matrix = rng.standard_normal((size, 5)) @ rng.standard_normal((5, size))
    game = games.matrix_game(jnp.asarray(matrix, jnp.float32))
    start = games.uniform_start(game)
    problem = vr_forb.Problem(Subproblem(game, start, np.sqrt(size) / game.lipschitz), start)
    params = vr_forb.Params(num_steps=1, stride=iterations)
    state = vr_forb.init(problem, params, prng.root_key(0))
    step = jax.jit(vr_forb.step)
    peer = _numpy_vr_forb(game, problem.inclusion.scale, vr_forb.rates(problem.inclusion, params), iterations // 8)
    # Of an iteration: some 20 operations on an entry and three sweeps of five; two products with a vector per snapshot.
    flops = 2 * size * 35 + 2 / size * 4 * size**2
    works = {
        "jax": Work(lambda: jax.block_until_ready(step(problem, params, state)), iterations, flops=flops * iterations),
        "numpy": Work(peer, iterations // 8, flops=flops * (iterations // 8)),
    }
    return Case("vr_forb", "iterations", (size, size), works, "resolvent of a game, one draw")


def _numpy_vr_forb(game, scale, rates, iterations):
    rows, columns, row_cost, column_cost, row_weight, column_weight = (
        np.asarray(array)
        for array in (
            game.rows, game.columns, game.row_cost, game.column_cost, game.row_weight, game.column_weight
        )
    )  # fmt: skip
    scale, tau, p = (np.float32(number) for number in (scale, *rates))
    size, one = len(rows), np.float32(1)
    row_law, column_law = (np.cumsum(1 / weight.astype(float)) for weight in (row_weight, column_weight))

    def call():
        rng = np.random.default_rng(1)
        drawn = (np.searchsorted(law / law[-1], rng.random(iterations)).tolist() for law in (row_law, column_law))
        coins = (rng.random(iterations) < p).tolist()
        center = np.full(size, 1 / size, np.float32)
        x = y = old_x = old_y = at_x = at_y = center

        def operator(x, y):
            return scale * (columns @ y + row_cost) + (x - center), scale * (-(rows @ x) - column_cost) + (y - center)

        in_x, in_y = operator(x, y)
        for i, j, coin in zip(*drawn, coins, strict=True):
            to_x = tau * scale * (y[i] - old_y[i]) * row_weight[i]
            to_y = tau * scale * (x[j] - old_x[j]) * column_weight[j]
            v = (one - p - tau) * x
            v += p * at_x
            v += tau * old_x
            v -= tau * in_x
            v -= to_x * rows[i]
            w = (one - p - tau) * y
            w += p * at_y
            w += tau * old_y
            w -= tau * in_y
            w += to_y * columns[j]
            x, y = full_bench.numpy_simplex(v), full_bench.numpy_simplex(w)
            old_x, old_y = at_x, at_y
            if coin:
                at_x, at_y = x, y
                in_x, in_y = operator(x, y)
        return x, y

    return call
