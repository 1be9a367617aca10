"""Linear programs as inclusions: min c'x with A x = b on some rows, A x <= b on the others, low <= x <= high.

A point is z = (x, y), y >= 0 the multipliers of the inequalities, and F(z) = (c + A'y, b - A x), which has one
component and norm |A|_2; G is the normal cone of the box times that of the multipliers. Every method of this family
runs on it; `pdhg` is made for it.

Letters: `m` rows, `n` columns, `E` edges; x and y may be trees of arrays of any shapes that the operator maps.
Source: `applegate:21` for the residuals; instances: random b-matching and packing programs.
"""

from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree

from research.core import validate as checks
from research.core.types import Array, Bool, Float, Key
from research.halpern import operators
from research.halpern.inclusions import Inclusion, Point
from research.halpern.operators import Operator

__all__ = [
    "Kkt", "LinearProgram", "Optimum", "b_matching", "highs", "kkt", "kkt_of_images", "linear_program", "matrix",
    "packing", "prepared", "zero_start",
]  # fmt: skip


class LinearProgram(Inclusion):
    """Made by `linear_program`, which also bounds |A|_2."""

    costs: Point  # c, like x
    operator: Operator  # A
    limits: Point  # b, like y
    equality: Bool[Array, "..."]  # like y: rows that hold with equality
    low: Point  # like x; may be -inf
    high: Point  # like x; may be inf
    lipschitz: Float[Array, ""]
    lipschitz_full: Float[Array, ""]  # >= |A|_2
    num_components: int = eqx.field(static=True, default=1)
    num_indices: int = eqx.field(static=True, default=1)
    cocoercive: bool = eqx.field(static=True, default=False)

    def full(self, u):
        x, y = u
        return (
            optax.tree.add(self.costs, self.operator.transpose(y)),
            optax.tree.sub(self.limits, self.operator.forward(x)),
        )

    def difference(self, draws, new, old):
        del draws  # the only component
        return optax.tree.sub(self.full(new), self.full(old))

    def sample(self, key, shape):
        del key
        return jnp.zeros((*shape, 1), jnp.int32)

    def prox(self, v, step_size):
        del step_size  # projections
        return jax.tree.map(jnp.clip, v[0], self.low, self.high), self.project_multipliers(v[1])

    def project_multipliers(self, y: Point) -> Point:
        """y with the multipliers of inequalities made >= 0."""
        return jax.tree.map(lambda leaf, equal: jnp.where(equal, leaf, jnp.maximum(leaf, 0)), y, self.equality)


class Kkt(NamedTuple):
    """How far z is from optimal; each of the three is relative, and `residual` is the largest."""

    primal: Float[Array, ""]  # |violation of the rows| / (1 + |b|)
    dual: Float[Array, ""]  # |reduced costs that no bound can absorb| / (1 + |c|)
    gap: Float[Array, ""]  # |c'x - dual objective| / (1 + |c'x|)
    residual: Float[Array, ""]
    objective: Float[Array, ""]  # c'x


class Optimum(NamedTuple):
    """What HiGHS finds, float64 on the host."""

    objective: float
    x: Float[np.ndarray, " n"]
    iterations: int


def linear_program(
    costs: Point,
    operator: Operator | Float[Array, "m n"],
    limits: Point,
    *,
    equality: Bool[Array, "..."] | bool = False,
    low: Point | float = 0.0,
    high: Point | float = np.inf,
    norm: Float[Array, ""] | None = None,
) -> LinearProgram:
    """A program whose arrays have the dtype of `costs`, A keeping its own.

    Args:
      costs: c, like x.
      operator: A, an operator or a matrix.
      limits: b, like y.
      equality: like y, or one flag for all rows.
      low, high: like x, or one number for all.
      norm: an upper bound of |A|_2; None: `operators.norm_estimate`, 50 power steps.

    Raises:
      ValueError: non-finite c or b; low > high or NaN; shapes that A does not map; norm <= 0.
    """
    operator = operator if isinstance(operator, Operator) else operators.Dense(jnp.asarray(operator))
    dtype = jnp.result_type(float, *jax.tree.leaves(costs))
    costs, limits = (jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), tree) for tree in (costs, limits))
    for name, tree in (("costs", costs), ("limits", limits)):
        for leaf in jax.tree.leaves(tree):
            checks.finite(name, leaf)
    _fits("limits", jax.eval_shape(operator.forward, costs), limits)
    _fits("costs", jax.eval_shape(operator.transpose, limits), costs)
    low, high = (_like(costs, value, dtype) for value in (low, high))
    equality = _like(limits, equality, bool)
    for below, above in zip(jax.tree.leaves(low), jax.tree.leaves(high), strict=True):
        if checks.is_concrete(below, above):
            fits = bool(jnp.all((below <= above) & (below < jnp.inf) & (above > -jnp.inf)))
            checks.require(fits, "low", "be <= high, < inf, and high > -inf, everywhere", f"{below} and {above}")
    norm = operators.norm_estimate(operator, costs, limits) if norm is None else jnp.asarray(norm, dtype)
    checks.positive("norm", norm)
    return LinearProgram(costs, operator, limits, equality, low, high, norm, norm)


def _fits(name, expected, given):
    shapes = [jax.tree.map(lambda leaf: tuple(leaf.shape), tree) for tree in (expected, given)]
    checks.require(shapes[0] == shapes[1], name, f"have the shape {shapes[0]} that the operator asks for", shapes[1])


def _like(tree, value, dtype):
    if jax.tree.structure(value) != jax.tree.structure(tree):
        value = jax.tree.map(lambda _: value, tree)
    return jax.tree.map(lambda leaf, v: jnp.broadcast_to(jnp.asarray(v, dtype), leaf.shape), tree, value)


def zero_start(program: LinearProgram) -> Point:
    """z = 0, clipped into the box."""
    return program.prox(jax.tree.map(jnp.zeros_like, (program.costs, program.limits)), 1.0)


def kkt(program: LinearProgram, z: Point) -> Kkt:
    """The relative residuals at z; costs one product with A and one with A'."""
    return kkt_of_images(program, z, program.operator.forward(z[0]), program.operator.transpose(z[1]))


def kkt_of_images(program: LinearProgram, z: Point, forward: Point, transpose: Point) -> Kkt:
    """The relative residuals at z where A x and A'y are known."""
    x, y = z

    def violated(forward, limit, equal):
        over = forward - limit
        return jnp.where(equal, over, jnp.maximum(over, 0))

    def split(reduced, low, high):
        """Reduced costs into the part that no bound absorbs, and the bound's value times the rest."""
        bound = jnp.where(reduced > 0, low, high)
        bounded = jnp.isfinite(bound)
        return jnp.where(bounded, 0, reduced), jnp.where(bounded & (reduced != 0), reduced * _finite(bound), 0)

    primal = optax.tree.norm(jax.tree.map(violated, forward, program.limits, program.equality))
    reduced = optax.tree.add(program.costs, transpose)
    parts = jax.tree.map(split, reduced, program.low, program.high)
    stray, absorbed = jax.tree.transpose(jax.tree.structure(reduced), jax.tree.structure((0, 0)), parts)
    objective = optax.tree.vdot(program.costs, x)
    dual_objective = optax.tree.sum(absorbed) - optax.tree.vdot(program.limits, y)
    primal = primal / (1 + optax.tree.norm(program.limits))
    dual = optax.tree.norm(stray) / (1 + optax.tree.norm(program.costs))
    gap = jnp.abs(objective - dual_objective) / (1 + jnp.abs(objective))
    return Kkt(primal, dual, gap, jnp.maximum(jnp.maximum(primal, dual), gap), objective)


def _finite(bound):
    return jnp.where(jnp.isfinite(bound), bound, 0)


def b_matching(key: Key, num_left: int, num_right: int, degree: int, dtype=jnp.float32) -> LinearProgram:
    """Heaviest b-matching on a random bipartite graph, b = 1: costs minus U(0, 1), `degree` left nodes to a right one.

    The polytope is integral, so that optima are 0 or 1 where they are unique.
    """
    checks.in_range("degree", degree, 1, num_left)
    graph, weights = jax.random.split(key)
    scores = jax.random.uniform(graph, (num_right, num_left))
    left = jnp.argsort(scores, axis=1)[:, :degree].reshape(-1).astype(jnp.int32)
    right = jnp.repeat(jnp.arange(num_right, dtype=jnp.int32), degree)
    costs = -jax.random.uniform(weights, left.shape, dtype)
    operator = operators.Incidence(left, right, num_left, num_right)
    return linear_program(costs, operator, jnp.ones(num_left + num_right, dtype))


def packing(key: Key, num_rows: int, num_columns: int, dtype=jnp.float32) -> LinearProgram:
    """max sum of w_j x_j over the box [0, 1] with A x <= n / 8, w and A of independent U(0, 1) entries: a hard case."""
    matrix, weights = jax.random.split(key)
    entries = jax.random.uniform(matrix, (num_rows, num_columns), dtype)
    costs = -jax.random.uniform(weights, (num_columns,), dtype)
    return linear_program(costs, entries, jnp.full(num_rows, num_columns / 8, dtype), high=1.0)


def highs(program: LinearProgram, method: str = "highs", options: dict | None = None) -> Optimum:
    """The optimum by HiGHS; x comes flat, in the order of the leaves.

    Args:
      method: SciPy's name: "highs", "highs-ds" (simplex) or "highs-ipm".

    Raises:
      RuntimeError: where HiGHS does not reach an optimum.
    Source: `huangfu:18`.
    """
    return prepared(program, method, options)()


def prepared(program: LinearProgram, method: str = "highs", options: dict | None = None) -> Callable[[], Optimum]:
    """`highs` as a call without arguments, to be timed: A is assembled here."""
    from scipy import optimize

    stored, equal = matrix(program).tocsr(), _flat(program.equality).astype(bool)
    limits, costs = _flat(program.limits), _flat(program.costs)
    bounds = np.stack([_flat(program.low), _flat(program.high)], axis=1)
    rows = {"A_ub": stored[~equal], "b_ub": limits[~equal]} if (~equal).any() else {}
    rows |= {"A_eq": stored[equal], "b_eq": limits[equal]} if equal.any() else {}

    def solve():
        found = optimize.linprog(costs, bounds=bounds, method=method, options=options or {}, **rows)
        if found.status != 0:
            raise RuntimeError(f"HiGHS stopped without an optimum: {found.message}")
        return Optimum(float(found.fun), found.x, int(found.nit))

    return solve


def _flat(tree):
    return np.concatenate([np.asarray(leaf, np.float64).ravel() for leaf in jax.tree.leaves(tree)])


def matrix(program: LinearProgram):
    """A as a SciPy sparse matrix in float64, rows and columns in the order of the leaves."""
    from scipy import sparse

    operator = program.operator
    match operator:
        case operators.Sparse():
            entries, rows, columns = operator.values, operator.rows, operator.columns
            shape = (operator.num_rows, operator.num_columns)
        case operators.Incidence():
            edges = np.arange(len(operator.left))
            rows = np.concatenate([np.asarray(operator.left), operator.num_left + np.asarray(operator.right)])
            entries, columns = np.ones(len(rows)), np.tile(edges, 2)
            shape = (operator.num_left + operator.num_right, len(edges))
        case _:
            flat, unravel = ravel_pytree(program.costs)
            basis = jnp.eye(len(flat), dtype=flat.dtype)
            columns = jax.vmap(lambda x: ravel_pytree(operator.forward(unravel(x)))[0])(basis)
            return sparse.coo_array(np.asarray(columns, np.float64).T)
    return sparse.coo_array((np.asarray(entries, np.float64), (np.asarray(rows), np.asarray(columns))), shape)
