"""Matrix games: min over x in the simplex of max over y in the simplex of y'Ax, and its estimators.

F(x, y) = (A'y + a, -Ax - d) and G is the normal cone of the two simplices. A point is the pair (x `[C]`, y `[R]`) for
`A [R, C]`. Class B: F is skew, hence monotone, and nowhere cocoercive. Two ways to draw:

* `"importance"`: a row i and a column j apart, with probabilities r_i and c_j proportional to their squared norms; the
  estimate of (A'y, -Ax) is (A[i, :] y_i / r_i, -A[:, j] x_j / c_j), and L = |A|_F exactly;
* `"paired"`: row and column of one uniform index, for square A; L = sqrt(n) max_i max(|A[i, :]|, |A[:, i]|).

Centring writes A = A_c + 1 a' + d 1'. On simplices a and d may stay out of the sampling, and multiples of the all-ones
vector do not matter: with exact F every iterate stays as it is, while |A_c| may be a hundred times smaller than |A|.
Source: `cai:24` for the paired draw; exact constants and centring are ours, tested.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from pallas_kernels import vr_forb_game
from pallas_kernels.vr_forb_game.xla import mix
from research.core import validate
from research.core.types import Array, Float
from research.halpern import proxes, sampling
from research.halpern.inclusions import Inclusion

__all__ = [
    "MatrixGame", "duality_gap", "matrix_game", "nemirovski", "policeman_burglar", "spectral_norm", "uniform_start",
]  # fmt: skip

SPLITS = ("importance", "paired")


class MatrixGame(Inclusion):
    """A game as the methods see it; built by `matrix_game`. One estimate of F at one point is one call."""

    rows: Float[Array, "R C"]  # A, centred where asked for
    columns: Float[Array, "C R"]  # its transpose, so that a column is read in one piece
    row_cost: Float[Array, "C"]  # a, added to A'y
    column_cost: Float[Array, "R"]  # d, added to Ax
    row_weight: Float[Array, "R"]  # 1 / r_i, 0 for a row of zeros
    column_weight: Float[Array, "C"]  # 1 / c_j
    row_table: Any  # AliasTable, or None for the paired draw
    column_table: Any
    constraint: proxes.Prox  # of the pair (x, y)
    lipschitz: Float[Array, ""]
    lipschitz_full: Float[Array, ""]  # the spectral norm of A
    split: str = eqx.field(static=True)

    @property
    def num_components(self) -> int:
        """max(R, C): what F costs in calls."""
        return max(self.rows.shape)

    @property
    def num_indices(self) -> int:
        """(row, column), or the one index of both."""
        return 2 if self.split == "importance" else 1

    @property
    def index_limits(self) -> tuple[int, ...]:
        return self.rows.shape if self.split == "importance" else self.rows.shape[:1]

    @property
    def cocoercive(self) -> bool:
        return False

    def full(self, u):
        x, y = u
        forward = jnp.matmul(self.rows, x, precision=jax.lax.Precision.HIGHEST)
        backward = jnp.matmul(self.columns, y, precision=jax.lax.Precision.HIGHEST)
        return backward + self.row_cost, -forward - self.column_cost

    def difference(self, draws, new, old):
        """One row and one column are read per draw, and two entries of each point.

        Microseconds per draw inside a compiled scan, float32 on one Xeon core: 0.23, 0.55, 1.2 at R = C = 400, 1024,
        2048.
        """
        row, column = draws[:, 0], draws[:, -1]
        in_y = (new[1][row] - old[1][row]) * self.row_weight[row] / draws.shape[0]
        in_x = (new[0][column] - old[0][column]) * self.column_weight[column] / draws.shape[0]
        return mix(in_y, self.rows, row), mix(-in_x, self.columns, column)

    def sample(self, key, shape):
        if self.split == "paired":
            return sampling.uniform(key, (*shape, 1), self.rows.shape[0])
        row, column = jax.random.split(key)
        drawn = sampling.draw(self.row_table, row, shape), sampling.draw(self.column_table, column, shape)
        return jnp.stack(drawn, axis=-1)

    def prox(self, v, step_size):
        return self.constraint(v, step_size)

    def inner_loop(self, center=None, scale=1.0, shift=0.0) -> vr_forb_game.Game | None:
        """scale F(u) + shift (u - center) as the loop `vr_forb_game` takes it; None where G is not two simplices."""
        parts = getattr(self.constraint, "parts", None)
        if not (isinstance(parts, tuple) and all(isinstance(part, proxes.Simplex) for part in parts)):
            return None
        number = lambda value: jnp.asarray(value, self.rows.dtype)  # noqa: E731
        return vr_forb_game.Game(
            self.rows, self.columns, self.row_cost, self.column_cost, self.row_weight, self.column_weight,
            center=(self.row_cost, self.column_cost) if center is None else center,
            scale=number(scale), shift=number(shift), radii=tuple(number(part.radius) for part in parts),
        )  # fmt: skip


def matrix_game(
    matrix: Float[Array, "R C"],
    *,
    split: str = "importance",
    centred: bool = True,
    row_cost: Float[Array, "C"] | None = None,
    column_cost: Float[Array, "R"] | None = None,
    constraint: proxes.Prox | None = None,
) -> MatrixGame:
    """The game y'Ax + a'x + d'y of a matrix, with its exact constants: O(R C min(R, C)) for the spectral norm.

    Args:
      matrix: A, finite; y maximises over rows, x minimises over columns.
      split: "importance" or "paired" (square A only).
      centred: draw from A less its row and column means.
      row_cost, column_cost: a and d of F(x, y) = (A'y + a, -Ax - d), 0 by default; never sampled.
      constraint: the prox of G on the pair (x, y), the two simplices by default; another one cannot be centred.

    Raises ValueError for a matrix that is not finite, has no entry, or is zero (after centring), or for a paired draw
    from one that is not square.
    """
    matrix = jnp.asarray(matrix)
    validate.one_of("split", split, SPLITS)
    validate.shape("matrix", matrix, (None, None))
    num_rows, num_columns = matrix.shape
    validate.require(min(matrix.shape) >= 1, "matrix", "have a row and a column", matrix.shape)
    validate.finite("matrix", matrix)
    if split == "paired":
        validate.require(num_rows == num_columns, "matrix", "be square for the paired split", matrix.shape)
    if constraint is None:
        constraint = proxes.Product((proxes.Simplex(), proxes.Simplex()))
    else:
        validate.require(not centred, "centred", "be False where the players are not on simplices", centred)
    row_cost = jnp.zeros(num_columns, matrix.dtype) if row_cost is None else jnp.asarray(row_cost, matrix.dtype)
    column_cost = jnp.zeros(num_rows, matrix.dtype) if column_cost is None else jnp.asarray(column_cost, matrix.dtype)
    validate.shape("row_cost", row_cost, (num_columns,))
    validate.shape("column_cost", column_cost, (num_rows,))
    validate.finite("row_cost", row_cost)
    validate.finite("column_cost", column_cost)
    if centred:
        column_mean = jnp.mean(matrix, axis=0)
        row_mean = jnp.mean(matrix, axis=1) - jnp.mean(matrix)
        matrix = matrix - column_mean[None, :] - row_mean[:, None]
        row_cost, column_cost = row_cost + column_mean, column_cost + row_mean
    in_rows, in_columns = jnp.sum(matrix**2, axis=1), jnp.sum(matrix**2, axis=0)
    total = jnp.sum(in_rows)
    validate.positive("matrix's squared Frobenius norm (after centring, if asked for)", total)
    tables = None, None
    if split == "paired":
        lipschitz = jnp.sqrt(num_rows * jnp.maximum(jnp.max(in_rows), jnp.max(in_columns)))
        weights = jnp.full_like(in_rows, num_rows), jnp.full_like(in_columns, num_rows)
    else:
        lipschitz = jnp.sqrt(total)
        weights = tuple(jnp.where(part > 0, total / jnp.where(part > 0, part, 1), 0) for part in (in_rows, in_columns))
        tables = sampling.alias_table(in_rows / total), sampling.alias_table(in_columns / total)
    return MatrixGame(
        rows=matrix,
        columns=matrix.T.copy(),
        row_cost=row_cost,
        column_cost=column_cost,
        row_weight=weights[0],
        column_weight=weights[1],
        row_table=tables[0],
        column_table=tables[1],
        constraint=constraint,
        lipschitz=lipschitz,
        lipschitz_full=spectral_norm(matrix),
        split=split,
    )


def spectral_norm(matrix: Float[Array, "R C"]) -> Float[Array, ""]:
    """The largest singular value, from the smaller Gram matrix."""
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    gram = jnp.matmul(wide, wide.T, precision=jax.lax.Precision.HIGHEST)
    return jnp.sqrt(jnp.maximum(jnp.linalg.eigvalsh(gram)[-1], 0))


def uniform_start(game: MatrixGame) -> tuple[Float[Array, "C"], Float[Array, "R"]]:
    """Both players uniform."""
    num_rows, num_columns = game.rows.shape
    dtype = game.rows.dtype
    return jnp.full(num_columns, 1 / num_columns, dtype), jnp.full(num_rows, 1 / num_rows, dtype)


def duality_gap(game: MatrixGame, u: tuple[Float[Array, "C"], Float[Array, "R"]]) -> Float[Array, ""]:
    """max over y' of the payoff against x, less min over x' of the payoff against y: >= 0, 0 at a solution.

    For a point of the simplices; of the game y'Ax + a'x + d'y, which is the original one also after centring.
    """
    x, y = u
    against_y, against_x = game.full(u)
    best = jnp.max(-against_x) + jnp.vdot(game.row_cost, x)
    return best - jnp.min(against_y) - jnp.vdot(game.column_cost, y)


def policeman_burglar(worth: Float[Array, "n"], *, theta: float = 0.8, weight: str = "row") -> Float[Array, "n n"]:
    """The matrix A_ij = w (1 - exp(-theta |i - j|)): a burglar picks a house, a policeman a post.

    Args:
      worth: w, the worth of each house, >= 0 and finite.
      theta: > 0.
      weight: "row" (w_i: the maximiser is the burglar) or "column" (w_j, as in the published experiment). These are
        different games: the second has a pure minimiser, and its value is close to min w.

    Source: `juditsky:11` for rows (recalled); `cai:24` for columns.
    """
    worth = jnp.asarray(worth)
    validate.one_of("weight", weight, ("row", "column"))
    validate.shape("worth", worth, (None,))
    validate.finite("worth", worth)
    validate.at_least("worth", worth, 0)
    validate.positive("theta", theta)
    place = jnp.arange(worth.shape[0], dtype=worth.dtype)
    distance = jnp.abs(place[:, None] - place[None, :])
    return (worth[:, None] if weight == "row" else worth[None, :]) * -jnp.expm1(-theta * distance)


def nemirovski(n: int, *, kind: int, alpha: float = 1.0, dtype: Any = None) -> Float[Array, "n n"]:
    """Test matrices: with i, j = 1, ..., n, ((i + j - 1) / (2n - 1))^alpha and ((|i - j| + 1) / (2n - 1))^alpha.

    Args:
      kind: 1 or 2, for the one or the other.
      alpha: > 0; usually 1/2, 1 or 2.

    Raises ValueError for n < 1, another kind, or alpha <= 0.
    Source: `juditsky:11` (recalled).
    """
    validate.at_least("n", n, 1)
    validate.one_of("kind", kind, (1, 2))
    validate.positive("alpha", alpha)
    place = jnp.arange(1.0, n + 1, dtype=dtype)
    i, j = place[:, None], place[None, :]
    return ((i + j - 1 if kind == 1 else jnp.abs(i - j) + 1) / (2 * n - 1)) ** alpha
