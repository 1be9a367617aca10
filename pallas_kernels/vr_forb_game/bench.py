"""Iterations per second of the inner loop on a CPU, by XLA, beside the memory's and the matrix product's limits.

The peer, a tuned NumPy iteration with the same projection, is in `experiments/halpern/bench.py`, where both sides make
their own draws; here draws are given. Flops by count, three sweeps of a projection; traffic is one row, one column and
sixteen vectors.
"""

import jax
import jax.numpy as jnp
import numpy as np

from pallas_kernels._bench import Case, Work
from pallas_kernels.vr_forb_game.api import vr_forb_game
from pallas_kernels.vr_forb_game.contract import Draws, Game, Iterate, Rates

__all__ = ["cases"]

_STEPS = 4096


def cases(tables, quick=False):
    """Yields the cases; `tables` are not used."""
    del tables
    for size in (400,) if quick else (400, 1024):
        args = _random(size)
        run = jax.jit(vr_forb_game)
        flops = _STEPS * (2 * size * 35 + 2 / size * 4 * size**2)
        call = lambda run=run, args=args: jax.block_until_ready(run(*args))  # noqa: E731
        work = Work(call, _STEPS, flops=flops, traffic=_STEPS * 4.0 * 18 * size)
        yield Case("vr_forb_game", "iterations", (size, size), {"xla": work}, "a resolvent, draws given")


def _random(size):
    rng = np.random.default_rng(0)
    matrix = rng.standard_normal((size, 5)) @ rng.standard_normal((5, size)) / size
    matrix = jnp.asarray(matrix, jnp.float32)
    point = (jnp.full(size, 1 / size, jnp.float32),) * 2
    zero, weight = jnp.zeros(size, jnp.float32), jnp.full(size, size, jnp.float32)
    game = Game(
        matrix,
        matrix.T.copy(),
        zero,
        zero,
        weight,
        weight,
        point,
        jnp.float32(1),
        jnp.float32(1),
        (jnp.float32(1),) * 2,
    )
    at = Iterate(point, point, point, (matrix.T @ point[1], -(matrix @ point[0])))
    p = 2 / size
    index = [jnp.asarray(rng.integers(size, size=(_STEPS, 1)), jnp.int32) for _ in range(2)]
    draws = Draws(jnp.asarray(rng.random(_STEPS) < p), *index)
    return game, Rates(jnp.float32(0.5 * np.sqrt(p)), jnp.float32(p)), at, draws, jnp.int32(_STEPS)
