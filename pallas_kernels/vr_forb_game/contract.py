"""What `vr_forb_game` takes and returns. Points are pairs (x `[C]`, y `[R]`), each on a simplex."""

from typing import NamedTuple

import jax

__all__ = ["Draws", "Game", "Iterate", "Point", "Rates"]

Point = tuple[jax.Array, jax.Array]


class Game(NamedTuple):
    """H(x, y) = scale (A'y + a, -Ax - d) + shift ((x, y) - center)."""

    rows: jax.Array  # [R, C] A
    columns: jax.Array  # [C, R] its transpose
    row_cost: jax.Array  # [C] a
    column_cost: jax.Array  # [R] d
    row_weight: jax.Array  # [R] one over the probability that the row is drawn
    column_weight: jax.Array  # [C]
    center: Point
    scale: jax.Array  # []
    shift: jax.Array  # [] 1 for a resolvent, 0 for the game itself
    radii: Point  # [] each, > 0: what the entries of x and of y sum to


class Rates(NamedTuple):
    step_size: jax.Array  # [] tau
    probability: jax.Array  # [] p


class Iterate(NamedTuple):
    """What an iteration carries."""

    point: Point
    snapshot: Point
    lagged: Point  # the snapshot one iteration ago
    operator: Point  # H(snapshot)


class Draws(NamedTuple):
    """Of `K` iterations."""

    coins: jax.Array  # [K] bool: whether the point becomes the snapshot
    rows: jax.Array  # [K, b] int32 in [0, R)
    columns: jax.Array  # [K, b] int32 in [0, C)
