"""The iterations as a loop: the path of CPUs, of GPUs and of float64. Source: as `reference.py`."""

import functools

import jax
import jax.numpy as jnp

from pallas_kernels.vr_forb_game.contract import Iterate
from pallas_kernels.vr_forb_game.simplex import simplex

__all__ = ["mix", "vr_forb_game"]

#: Up to this many draws their rows are added one by one: half the time of gathering them for a product.
ADDED_ONE_BY_ONE = 32


def vr_forb_game(game, rates, at, draws, length, *, project=simplex):
    """Same contract as `api.vr_forb_game`."""

    def body(k, at):
        return iteration(game, rates, at, draws.coins[k], draws.rows[k], draws.columns[k], project)

    return jax.lax.fori_loop(0, length, body, at)


def iteration(game, rates, at, coin, row, column, project=simplex):
    """One of them, with the rows and the columns drawn, `[b]` each."""
    tau, p = rates
    (x, y), (old_x, old_y) = at.point, at.lagged
    in_y = (y[row] - old_y[row]) * game.row_weight[row] / row.shape[0]
    in_x = (x[column] - old_x[column]) * game.column_weight[column] / column.shape[0]
    change = mix(in_y, game.rows, row), mix(-in_x, game.columns, column)

    def forward(v, lagged, w, operator, change, radius):
        correction = game.shift * (v - lagged) + game.scale * change
        return project((1 - p) * v + p * w - tau * (operator + correction), radius)

    point = tuple(map(forward, at.point, at.lagged, at.snapshot, at.operator, change, game.radii))
    snapshot, operator = jax.lax.cond(coin, lambda: (point, _full(game, point)), lambda: (at.snapshot, at.operator))
    return Iterate(point, snapshot, at.snapshot, operator)


def mix(weights, rows, index):
    """sum_b weights[b] rows[index[b]]."""
    if index.shape[0] <= ADDED_ONE_BY_ONE:
        return functools.reduce(jnp.add, [weights[k] * rows[index[k]] for k in range(index.shape[0])])
    return jnp.matmul(weights, rows[index], precision=jax.lax.Precision.HIGHEST)


def _full(game, point):
    x, y = point
    backward = jnp.matmul(game.columns, y, precision=jax.lax.Precision.HIGHEST) + game.row_cost
    forward = -jnp.matmul(game.rows, x, precision=jax.lax.Precision.HIGHEST) - game.column_cost
    return (
        game.scale * backward + game.shift * (x - game.center[0]),
        game.scale * forward + game.shift * (y - game.center[1]),
    )
