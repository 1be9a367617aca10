"""The iterations one after the other in plain jnp, projections by sorting: the oracle of every test of this package.

Source: the iteration is `alacaoglu:21`, projections `condat:16`.
"""

import jax.numpy as jnp

from pallas_kernels.vr_forb_game.contract import Iterate

__all__ = ["vr_forb_game"]


def vr_forb_game(game, rates, at, draws, length):
    """Same contract as `api.vr_forb_game`."""
    (x, y), snapshot, lagged, operator = at
    tau, p = rates
    for k in range(draws.coins.shape[0]):
        i, j = draws.rows[k], draws.columns[k]
        pull_x = jnp.mean(((y - lagged[1]) * game.row_weight)[i][:, None] * game.rows[i], axis=0)
        pull_y = -jnp.mean(((x - lagged[0]) * game.column_weight)[j][:, None] * game.columns[j], axis=0)
        change = [
            game.scale * pull + game.shift * (new - old)
            for pull, new, old in zip((pull_x, pull_y), (x, y), lagged, strict=True)
        ]
        x_next, y_next = (
            _project((1 - p) * v + p * w - tau * (h + c), radius)
            for v, w, h, c, radius in zip((x, y), snapshot, operator, change, game.radii, strict=True)
        )
        full = (
            game.scale * (game.columns @ y_next + game.row_cost) + game.shift * (x_next - game.center[0]),
            game.scale * (-(game.rows @ x_next) - game.column_cost) + game.shift * (y_next - game.center[1]),
        )
        going, coin = k < length, draws.coins[k]

        def choose(new, old, here):
            return tuple(jnp.where(here, a, b) for a, b in zip(new, old, strict=True))

        lagged = choose(snapshot, lagged, going)
        snapshot = choose((x_next, y_next), snapshot, going & coin)
        operator = choose(full, operator, going & coin)
        x, y = choose((x_next, y_next), (x, y), going)
    return Iterate((x, y), snapshot, lagged, operator)


def _project(v, radius):
    descending = jnp.sort(v)[::-1]
    counts = jnp.arange(1, v.shape[0] + 1, dtype=v.dtype)
    return jnp.maximum(v - jnp.max((jnp.cumsum(descending) - radius) / counts), 0)
