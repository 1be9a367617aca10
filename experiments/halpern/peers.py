"""Other solvers of linear programs behind one call: HiGHS's methods, and MPAX where it is installed.

MPAX is restarted Halpern PDHG in JAX (`r2HPDHG`), with its presolve and its defaults but for the tolerance, which is
relative and in the Euclidean norm as ours is. It looks every 100 iterations, so that it ends below its tolerance.
"""

import dataclasses
import importlib.util
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from research.core.types import Array, Float, Int
from research.halpern import linear_programs
from research.halpern.linear_programs import LinearProgram

__all__ = ["HIGHS", "MPAX", "Found", "highs", "installed", "mpax"]

#: Method of SciPy's interface.
HIGHS = {"HiGHS simplex": "highs-ds", "HiGHS interior point": "highs-ipm"}
MPAX = "r2HPDHG"


class Found(NamedTuple):
    """Points of `B` programs, and what they took."""

    x: Float[Array, "B n"]
    y: Float[Array, "B m"]
    iterations: Int[Array, " B"]


def installed() -> bool:
    """Whether MPAX is."""
    return importlib.util.find_spec("mpax") is not None


def highs(programs: Sequence[LinearProgram], name: str) -> Callable[[], list[linear_programs.Optimum]]:
    """`() -> optima`, one program after the other; its time includes SciPy's passing of the problem, a millisecond."""
    solvers = [linear_programs.prepared(program, HIGHS[name]) for program in programs]
    return lambda: [solve() for solve in solvers]


def mpax(
    programs: Sequence[LinearProgram], tolerance: float, *, batched: bool = True, shared: bool = False
) -> Callable[[], Found]:
    """`() -> Found`, compiled at its first call; for programs of inequalities whose x and y are vectors.

    Args:
      batched: all at once by `jax.vmap`; its sparse matrices have no batch axis, so that A is dense unless `shared`.
      shared: A, b and the bounds are those of the first program, only costs differ.
    """
    import mpax

    solver = mpax.r2HPDHG(eps_abs=0.0, eps_rel=tolerance, optimality_norm=2)
    sparse = shared or not batched
    forms = [_form(mpax, program, sparse) for program in (programs[:1] if shared else programs)]

    if not batched:
        one = jax.jit(solver.optimize)
        return lambda: _found(*jax.tree.map(lambda *rows: jnp.stack(rows), *(_answer(one(form)) for form in forms)))
    if shared:
        costs = jnp.stack([program.costs for program in programs])

        def solve(form, costs):
            return _answer(solver.optimize(dataclasses.replace(form, objective_vector=costs)))

        every = jax.jit(jax.vmap(solve, in_axes=(None, 0)))
        return lambda: _found(*every(forms[0], costs))
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *forms)
    every = jax.jit(jax.vmap(lambda form: _answer(solver.optimize(form))))
    return lambda: _found(*every(stacked))


def _answer(output):
    return output.primal_solution, output.dual_solution, output.iteration_count


def _found(x, y, iterations):
    return jax.block_until_ready(Found(x, y, iterations))


def _form(mpax, program, sparse):
    import scipy.sparse as sp

    stored, n = linear_programs.matrix(program).tocsr(), len(program.costs)
    if np.asarray(program.equality).any():
        raise ValueError("program must have inequalities alone.")
    none, rows = (sp.csr_matrix((0, n)), sp.csr_matrix(-stored)) if sparse else (np.zeros((0, n)), -stored.toarray())
    given = (np.asarray(part) for part in (program.costs, -program.limits, program.low, program.high))
    costs, limits, low, high = given
    return mpax.create_lp(costs, none, np.zeros(0, costs.dtype), rows, limits, low, high, use_sparse_matrix=sparse)
