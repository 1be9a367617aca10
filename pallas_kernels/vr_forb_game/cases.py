"""What the laboratory costs and what every test of kernels runs, for this operation.

The compiler's simulator counts a loop whose length depends on data once and all branches of XLA's conditionals: both
sides are costed with loops of fixed length, three sweeps of each projection, and no coin.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from pallas_kernels._blocks import LANES
from pallas_kernels._lab.case import Case, Example
from pallas_kernels.vr_forb_game import api, kernel_tpu, xla
from pallas_kernels.vr_forb_game.contract import Draws, Game, Iterate, Rates

__all__ = ["NOT_DIFFERENTIABLE", "cases", "examples"]

NOT_DIFFERENTIABLE = "an inner solver: derivatives are those of the equation that it solves"

_SWEEPS = 3
_STEPS = 8


def cases():
    """Vectors that fill half a register, and a whole one."""
    return _case("n512", 512), _case("n1024", 1024)


def _case(name, size):
    """The kernel on arrays in its layout, one grid step of `2 _STEPS` iterations less one of half as many."""
    tile = kernel_tpu.height(size), LANES

    def args(steps):
        scalars = [_abstract(1, 1, steps, dtype=kind) for kind in (jnp.int32,) * 3 + (jnp.float32,) * 2]
        pairs = [[_abstract(count, *tile)] * 2 for count in (size, 2, 4)]
        return _abstract(1, dtype=jnp.int32), _abstract(6), scalars, *pairs

    kernel = functools.partial(kernel_tpu.stream, sizes=(size, size), sweeps=_SWEEPS, fixed=True)
    project = functools.partial(_project, sweeps=_SWEEPS)

    def by_xla(game, rates, at, draws):
        def body(k, at):
            return xla.iteration(game, rates, at, False, draws.rows[k], draws.columns[k], project)

        return jax.lax.fori_loop(0, _STEPS, body, at)

    of_peer = api.abstract(size, size, _STEPS)[:4]
    return Case(name, kernel, args(2 * _STEPS), by_xla, of_peer, _STEPS, "iteration", _STEPS, args(_STEPS))


def _abstract(*shape, dtype=jnp.float32):
    return jax.ShapeDtypeStruct(shape, dtype)


def _project(v, radius, sweeps):
    threshold = (jnp.sum(v) - radius) / v.shape[0]
    for _ in range(sweeps):
        above = jnp.sum((v > threshold).astype(v.dtype))
        threshold = threshold + (jnp.sum(jnp.maximum(v - threshold, 0)) - radius) / jnp.maximum(above, 1)
    return jnp.maximum(v - threshold, 0)


def examples():
    """Sizes that fill nothing, blocks part full, several draws of an iteration, a game without a centre."""
    return (
        _example("odd", rows=13, columns=150, steps=11, draws=1, length=9),
        _example("several draws", rows=9, columns=5, steps=6, draws=3, length=6, shift=0.0),
        _example("two registers", rows=3, columns=1030, steps=5, draws=1, length=5),
    )


def _example(name, *, rows, columns, steps, draws, length, shift=1.0):
    rng = np.random.default_rng(0)

    def array(*shape):
        return jnp.asarray(rng.normal(size=shape), jnp.float32)

    def point():
        return tuple(jnp.asarray(rng.dirichlet(np.ones(size)), jnp.float32) for size in (columns, rows))

    matrix = array(rows, columns) / np.float32(np.sqrt(rows * columns))
    weights = [jnp.asarray(size * rng.uniform(0.5, 1, size), jnp.float32) for size in (rows, columns)]
    game = Game(
        matrix,
        matrix.T,
        array(columns),
        array(rows),
        *weights,
        point(),
        jnp.float32(0.7),
        jnp.float32(shift),
        (jnp.float32(1), jnp.float32(1.5)),
    )
    snapshot = point()
    operator = array(columns), array(rows)
    at = Iterate(point(), snapshot, snapshot, operator)
    index = [jnp.asarray(rng.integers(size, size=(steps, draws)), jnp.int32) for size in (rows, columns)]
    drawn = Draws(jnp.asarray(rng.random(steps) < 0.3), *index)
    args = game, Rates(jnp.float32(0.1), jnp.float32(0.3)), at, drawn, jnp.int32(length)

    def interpret(*args):
        *args, mode = args
        return kernel_tpu.vr_forb_game(*args, block=8, interpret=mode)

    # Points sum to one, operators are of size 1: some roundings of either, in each of the iterations.
    return Example(name, args, api.vr_forb_game, interpret, 1e-5)
