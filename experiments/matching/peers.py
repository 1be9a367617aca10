"""Other solvers on the assembled state form of LP-OnOpt: HiGHS's methods, and MPAX where it is installed.

MPAX is restarted Halpern PDHG in JAX (`r2HPDHG`), in float32 as ours is, stopped by its own relative residuals and gap;
what its x is worth once it is feasible is a question for `certificates.repair`.
"""

import importlib.util
import time
from collections.abc import Callable

import numpy as np

from research.matching import oracles

__all__ = ["HIGHS", "MPAX", "installed", "solver"]

#: Method of SciPy's interface, and options.
HIGHS = {
    "simplex": ("highs-ds", {}),
    "interior point": ("highs-ipm", {}),
    "interior point, 1e-4": ("highs-ipm", {"ipm_optimality_tolerance": 1e-4}),
}
MPAX = "r2HPDHG, 1e-4"


def installed(names) -> tuple[str, ...]:
    """The names, without MPAX where it is not installed."""
    return tuple(name for name in names if name != MPAX or importlib.util.find_spec("mpax") is not None)


def solver(name: str, program: oracles.LinearProgram, *, limit: float | None = None) -> Callable:
    """`() -> Solved`, the program's optimum by the method of this name, ready to be timed: no assembly inside.

    HiGHS gives None where it is not done after `limit` seconds. MPAX, which has no such limit, compiles at its first
    call; its multipliers are left at zero.
    """
    if name == MPAX:
        return _mpax(program)
    method, options = HIGHS[name]
    options = options if limit is None else options | {"time_limit": limit}

    def solve():
        try:
            return oracles.optimum(program, method=method, options=options)
        except RuntimeError:
            if limit is None:
                raise
            return None

    return solve


def _mpax(program):
    import jax
    import mpax

    num_variables, num_edges = len(program.costs), len(program.edges)
    given = mpax.create_lp(
        program.costs, program.equalities, np.zeros(program.equalities.shape[0]), -program.inequalities,
        -program.bounds, np.zeros(num_variables), np.full(num_variables, np.inf),
    )  # fmt: skip
    optimize = jax.jit(mpax.r2HPDHG(eps_abs=1e-4, eps_rel=1e-4).optimize)

    def solve():
        start = time.perf_counter()
        found = jax.block_until_ready(optimize(given))
        seconds = time.perf_counter() - start
        x = np.zeros(program.shape)
        x.ravel()[program.edges] = found.primal_solution[:num_edges]
        return oracles.Solved(-float(found.primal_objective), x, np.zeros(program.shape[1:]), seconds)

    return solve
