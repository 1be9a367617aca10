"""One iteration of Algorithm 1 against a tuned vectorised NumPy iteration, on one core.

Least squares with 50 columns, uniform draws, the paper's schedules far from the start. `refreshed` has full evaluations
at their stationary rate 4 / (sqrt(n) + 5); `batches` has none, what an iteration costs between two of them. Both sides
draw their own indices, in chunks; only ours computes a residual, once in 512 iterations. Linear programs: `lp_bench`.
"""

import jax
import jax.numpy as jnp
import numpy as np

from experiments.halpern import lp_bench
from pallas_kernels._bench import Case, Work
from research.core import prng
from research.halpern import finite_sums, page, schedules

COLUMNS, ITERATIONS = 50, 512


def cases(tables, quick):
    """Workloads of 2,000 rows, which stay in a core's cache, and of 200,000, which do not; then linear programs."""
    del tables
    for rows in (2_000,) if quick else (2_000, 200_000):
        yield from _page_cases(rows)
    yield from lp_bench.cases(quick)


def _page_cases(rows):
    rng = np.random.default_rng(0)
    turn, _ = np.linalg.qr(rng.normal(size=(COLUMNS, COLUMNS)))
    signs = rng.choice([-1.0, 1.0], size=(rows, COLUMNS)) / np.arange(1, COLUMNS + 1)
    features = (signs @ turn.T).astype(np.float32)
    targets = (features @ turn.sum(axis=1) + 0.1 * rng.normal(size=rows)).astype(np.float32)
    batch = schedules.batch_size(rows, certified=False)
    rate = 4 / (np.sqrt(rows) + 5)
    for name, refresh in (("refreshed", None), ("batches", schedules.Refresh(1e-30, 1e-30))):
        coins = np.zeros(ITERATIONS, bool) if refresh else rng.random(ITERATIONS) < rate
        share = 0.0 if refresh else rate
        flops = ITERATIONS * COLUMNS * 4 * ((1 - share) * batch + share * rows)
        works = {
            "jax": Work(_ours(features, targets, batch, refresh), ITERATIONS, flops=flops),
            "numpy": Work(_numpy(features, targets, batch, coins), ITERATIONS, flops=flops),
        }
        note = f"batch {batch}, {'full at the rate 4 / (sqrt(n) + 5)' if refresh is None else 'no full evaluation'}"
        yield Case(f"page_{name}", "iterations", (rows, COLUMNS), works, note)


def _ours(features, targets, batch, refresh):
    inclusion = finite_sums.least_squares(features, targets, law="uniform")
    problem = page.Problem(inclusion, jnp.zeros(COLUMNS, jnp.float32))
    step_size = 0.5 / inclusion.lipschitz
    params = page.Params(
        num_steps=1, stride=ITERATIONS, batch=batch, refresh=refresh, step_size=step_size, unsafe=refresh is not None
    )
    run = jax.jit(page.run)
    state = page.init(problem, params, prng.root_key(0))._replace(step=jnp.int32(100))  # schedules are constant there
    estimate = inclusion.full(problem.start)
    state = state._replace(estimate=estimate)
    return lambda: jax.block_until_ready(run(problem, params, state=state).u)


def _numpy(features, targets, batch, coins):
    rows = len(features)
    step_size, weight = np.float32(0.5 / np.max((features**2).sum(axis=1))), np.float32(1 / batch)
    first = (targets @ features) / np.float32(-rows)

    def call():
        draws = np.random.default_rng(1).integers(rows, size=(ITERATIONS, batch), dtype=np.int32)
        start = np.zeros(COLUMNS, np.float32)
        u = previous = start
        estimate = first
        for k in range(ITERATIONS):
            if coins[k]:
                estimate = ((features @ u - targets) @ features) / np.float32(rows)
            else:
                chosen = features[draws[k]]
                estimate = estimate + ((chosen @ (u - previous)) @ chosen) * weight
            share = np.float32(2 / (k + 51_204))
            previous, u = u, share * start + (1 - share) * u - step_size * estimate
        return u

    return call
