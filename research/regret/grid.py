"""Shortest right/down paths on a grid by dynamic programming over anti-diagonals, and streams of random edge costs.

A path goes from (0, 0) to (k-1, k-1) in 2 (k - 1) moves. All nodes of an anti-diagonal are relaxed together, so the
recursion is 2 (k - 1) vector steps of length k instead of k^2 scalar ones.

Shape letters: `T` rounds, `G` groups, `k` grid side >= 2.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from research.core import prng, validate
from research.core.types import Array, Bool, Float, Int, Key

__all__ = ["Alternating", "CostLaw", "Edges", "Path", "draw_law", "path_cost", "shortest_path"]


class Edges(NamedTuple):
    """A number per edge: `horizontal[i, j]` joins (i, j) to (i, j+1), `vertical[i, j]` joins (i, j) to (i+1, j)."""

    horizontal: Float[Array, "... k k-1"]
    vertical: Float[Array, "... k-1 k"]


class Path(NamedTuple):
    cost: Float[Array, ""]
    moves: Bool[Array, "2*(k-1)"]  # True is down


def _by_diagonal(edges: Float[Array, "rows columns"], side: int) -> Float[Array, "2*(k-1) k"]:
    """Entry [s, i] is the edge that leaves node (i, s - i), infinite where there is none.

    Padding each row to length 2k-1 and reading the result in rows of 2k-2 shifts row i by i places: no gather.
    """
    rows, columns = edges.shape
    wide = jnp.pad(edges, ((0, side - rows), (0, 2 * side - 1 - columns)), constant_values=jnp.inf)
    return wide.reshape(-1)[:-side].reshape(side, 2 * side - 2).T


def shortest_path(costs: Edges) -> Path:
    """The cheapest path and its cost; a tie goes right. Costs of one grid, finite, of any sign."""
    side = costs.vertical.shape[-1]
    right, down = _by_diagonal(costs.horizontal, side), _by_diagonal(costs.vertical, side)
    beyond = jnp.full((1,), jnp.inf, right.dtype)

    def backward(to_go, leaving):
        by_right = leaving[0] + to_go
        by_down = leaving[1] + jnp.concatenate([to_go[1:], beyond])
        return jnp.minimum(by_right, by_down), by_down < by_right

    def forward(row, goes_down):
        move = goes_down[row]
        return row + move, move

    at_end = jnp.where(jnp.arange(side) == side - 1, 0, jnp.inf).astype(right.dtype)
    to_go, goes_down = jax.lax.scan(backward, at_end, (right, down), reverse=True)
    _, moves = jax.lax.scan(forward, jnp.int32(0), goes_down)
    return Path(to_go[0], moves)


def path_cost(costs: Edges, moves: Bool[Array, "2*(k-1)"]) -> Float[Array, ""]:
    """Sum of the costs of the edges that `moves` takes."""
    side = costs.vertical.shape[-1]
    row = jnp.cumsum(moves) - moves
    column = jnp.arange(2 * (side - 1)) - row
    # Of the two edges that leave a node one may be off the grid: its index is clipped and its value not selected.
    right = costs.horizontal[row, jnp.minimum(column, side - 2)]
    down = costs.vertical[jnp.minimum(row, side - 2), column]
    return jnp.sum(jnp.where(moves, down, right))


class CostLaw(eqx.Module):
    """Random costs whose mean depends on who is concerned and drifts at a rate of the group's own.

    Every round draws one value of each attribute. A group is a value of an attribute, or everybody (the last one), so
    groups overlap. An edge's mean cost averages those of the active attribute values; each value's mean moves from one
    random vector to another over `horizon` rounds, `speed` times. The cost is the mean plus uniform noise, clipped.
    """

    key: Key
    start: Float[Array, "V edges"]  # mean costs of the attribute values, horizontal then vertical edges
    end: Float[Array, "V edges"]
    speed: Float[Array, " V"]  # crossings per horizon; 0 does not drift
    horizon: float | Float[Array, ""]  # rounds
    side: int = eqx.field(static=True)
    sizes: tuple[int, ...] = eqx.field(static=True)  # number of values of each attribute
    spread: float | Float[Array, ""] = 0.25  # noise is uniform on [-spread, spread]

    @property
    def num_groups(self) -> int:
        return sum(self.sizes) + 1

    def window(self, first_round: int | Int[Array, ""], num_rounds: int) -> tuple[Edges, Float[Array, "T G"]]:
        """Costs and memberships of rounds first_round, ..., the same whatever the windows are."""
        values = prng.blocked(self._values, prng.stream(self.key, "attributes"), first_round, num_rounds)
        noise = prng.blocked(self._noise, prng.stream(self.key, "costs"), first_round, num_rounds)
        now = (first_round + jnp.arange(num_rounds)).astype(noise.dtype) / self.horizon
        phase = now[:, None] * self.speed[None]
        weight = jnp.abs(phase - 2 * jnp.floor(phase / 2 + 0.5))  # triangle wave: 0 -> 1 -> 0, one crossing per unit
        member = values * (1 / len(self.sizes))
        highest = jax.lax.Precision.HIGHEST
        mean = jnp.matmul(member * (1 - weight), self.start, precision=highest)
        mean = mean + jnp.matmul(member * weight, self.end, precision=highest)
        cost = jnp.clip(mean + self.spread * (2 * noise - 1), 0, 1)
        right, down = jnp.split(cost, 2, axis=-1)
        edges = Edges(right.reshape(-1, self.side, self.side - 1), down.reshape(-1, self.side - 1, self.side))
        return edges, jnp.concatenate([values, jnp.ones_like(values[:, :1])], axis=-1)

    def _noise(self, key: Key, block: int) -> Float[Array, "block edges"]:
        return jax.random.uniform(key, (block, self.start.shape[-1]), self.start.dtype)

    def _values(self, key: Key, block: int) -> Float[Array, "block V"]:
        """One-hot values of all attributes; value v of an attribute is twice as frequent as value v + 1."""
        keys = jax.random.split(key, len(self.sizes))
        columns = []
        for attribute_key, size in zip(keys, self.sizes, strict=True):
            logits = -jnp.log(2.0).astype(self.start.dtype) * jnp.arange(size)
            drawn = jax.random.categorical(attribute_key, logits, shape=(block,))
            columns.append(jax.nn.one_hot(drawn, size, dtype=self.start.dtype))
        return jnp.concatenate(columns, axis=-1)


class Alternating(eqx.Module):
    """The stream on which a leader without perturbation is wrong in every round: regret grows linearly.

    Edges above the diagonal and edges below it cost 0 and 1 in turn, the half that leads costing 1 next; the first
    round gives one half a lead of 1/2. Everybody is the only group.
    """

    side: int = eqx.field(static=True)
    dtype: str = eqx.field(static=True, default="float32")

    @property
    def num_groups(self) -> int:
        return 1

    def window(self, first_round: int | Int[Array, ""], num_rounds: int) -> tuple[Edges, Float[Array, "T 1"]]:
        """Costs and memberships of rounds first_round, ..."""
        t = first_round + jnp.arange(num_rounds)
        odd = (t % 2).astype(self.dtype)
        above, below = jnp.where(t == 0, 0.5, 1 - odd).astype(self.dtype), odd
        row, column = jnp.indices((self.side, self.side - 1))

        def priced(is_above):
            return jnp.where(is_above[None], above[:, None, None], below[:, None, None])

        edges = Edges(priced(column >= row), priced((row > column).T))  # (i, i) to (i, i+1) is above
        return edges, jnp.ones((num_rounds, 1), self.dtype)


def draw_law(
    key: Key, *, side: int, sizes: tuple[int, ...], horizon: float, drift: float = 1.0, dtype=jnp.float32
) -> CostLaw:
    """A `CostLaw` with mean costs uniform on [0, 1] and speeds uniform on [0, 2 * drift].

    Raises ValueError for side < 2, an attribute without values, a horizon that is not positive, a negative drift.
    """
    validate.at_least("side", side, 2)
    validate.at_least("number of attributes", len(sizes), 1)
    for size in sizes:
        validate.at_least("sizes", size, 1)
    validate.positive("horizon", horizon)
    validate.at_least("drift", drift, 0)
    shape = (sum(sizes), 2 * side * (side - 1))
    start = jax.random.uniform(prng.stream(key, "start"), shape, dtype)
    end = jax.random.uniform(prng.stream(key, "end"), shape, dtype)
    speed = 2 * drift * jax.random.uniform(prng.stream(key, "speed"), shape[:1], dtype)
    return CostLaw(prng.stream(key, "rounds"), start, end, speed, horizon, side, tuple(sizes))
