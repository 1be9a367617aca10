"""Speed of linear programs to one relative KKT residual, against MPAX and HiGHS in the same run.

One program; a batch of 64, each with its own sparse matrix; and a batch of 64 that shares a matrix, by one dense
product of all lanes and by the incidence operator. Accuracy is not taken on trust: every row of ours and of MPAX has
the largest KKT residual of its answers, taken by the same function. HiGHS solves a few programs of a batch one after
another, always in float64; MPAX has no batch of sparse matrices, so that its separate programs are dense. Cases called
`exact` ask all of them for 1e-8 in float64: at what size and batch PDHG is faster than the simplex method.
Counted per iteration and program: two products of 2 operations an entry, and 30 for every x and y.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from experiments.halpern import peers, programs
from pallas_kernels._bench import Case, Work
from research.core import prng
from research.halpern import lanes, linear_programs, operators, pdhg
from research.halpern.inclusions import Problem

__all__ = ["cases"]

#: Size, lanes, and how many programs MPAX and HiGHS are given.
_SIZES = (
    ((4, 8, 2), 1, 1, 1), ((4, 8, 2), 64, 64, 8), ((20, 60, 3), 1, 1, 1), ((20, 60, 3), 64, 64, 8),
    ((50, 200, 4), 1, 1, 1), ((50, 200, 4), 64, 64, 4), ((200, 2000, 6), 1, 0, 1),
)  # fmt: skip
_EXACT = (
    ((4, 8, 2), 1, 1, 1), ((20, 60, 3), 1, 1, 1), ((20, 60, 3), 64, 64, 8), ((50, 200, 4), 1, 1, 1),
    ((50, 200, 4), 64, 0, 4), ((200, 2000, 6), 1, 0, 1), ((200, 2000, 6), 8, 0, 1),
)  # fmt: skip
_QUICK = (((4, 8, 2), 1, 1, 1), ((4, 8, 2), 8, 8, 2))
_TOLERANCE, _LIMIT, _ELEMENTWISE = 1e-4, 1000, 30


def cases(quick):
    """One program, batches of separate ones, and batches that share a matrix."""
    for size, count, mpax, highs in _QUICK if quick else _SIZES:
        yield _separate(size, count, mpax, highs)
    for size, count, mpax, highs in _EXACT[:1] if quick else _EXACT:
        yield _exact(size, count, mpax, highs)
    yield _shared(*((4, 8, 2), 8, 2, 2) if quick else ((20, 60, 3), 64, 64, 8))


def _exact(*arguments):
    """The case with everything in double precision."""

    def double(function):
        def call(*given):
            with jax.enable_x64(True):
                return function(*given)

        return call

    case = double(_separate)(*arguments, 1e-8, jnp.float64)
    works = {
        name: dataclasses.replace(work, call=double(work.call), report=double(work.report), dtype="float64")
        for name, work in case.works.items()
    }
    return dataclasses.replace(case, name=f"{case.name} exact", works=works)


def _separate(size, count, mpax, highs, tolerance=_TOLERANCE, dtype=jnp.float32):
    keys = prng.replicate_keys(prng.root_key(0), count)
    batch = programs.batch("b_matching", size, keys, dtype)
    each = [jax.tree.map(lambda leaf, k=k: leaf[k], batch.inclusion) for k in range(count)]
    problem, axes = (batch, lanes.axes(batch)) if count > 1 else (jax.tree.map(lambda leaf: leaf[0], batch), None)
    works = {"PDHG": _ours(each, problem, axes, 2 * len(each[0].costs), tolerance)}
    name = f"lp {size[0]}x{size[1]}" + (f" batch {count}" if count > 1 else "")
    return _case(name, size, each, works, mpax, highs, tolerance)


def _shared(size, count, mpax, highs):
    rng = np.random.default_rng(0)
    first = linear_programs.b_matching(prng.root_key(0), *size)
    costs = jnp.asarray(-rng.random((count, len(first.costs))), jnp.float32)
    stored = jnp.asarray(linear_programs.matrix(first).toarray(), jnp.float32)

    def program(costs, operator):
        return linear_programs.linear_program(costs, operator, first.limits, norm=first.lipschitz_full)

    works, each = {}, [program(row, first.operator) for row in costs]
    for name, operator, entries in (
        ("PDHG, one dense product", operators.Dense(stored), stored.size),
        ("PDHG, incidence", first.operator, 2 * len(first.costs)),
    ):
        one = program(costs[0], operator)
        start = linear_programs.zero_start(one)
        axes = Problem(lanes.axes(one, "costs"), jax.tree.map(lambda _: None, start))
        batch = Problem(type(one)(**vars(one) | {"costs": costs}), start)
        works[name] = _ours(each, batch, axes, entries, _TOLERANCE)
    name = f"lp {size[0]}x{size[1]} shared batch {count}"
    return _case(name, size, each, works, mpax, highs, _TOLERANCE, shared=True)


def _ours(each, problem, axes, entries, tolerance):
    params = pdhg.Params(_LIMIT, tolerance=tolerance)
    length = len(each[0].costs) + len(each[0].limits)

    def flops(found):
        return float(jnp.max(found.iterations)) * len(each) * (4.0 * entries + _ELEMENTWISE * length)

    def report(found):
        x, y = (np.reshape(leaf, (len(each), -1)) for leaf in (found.x, found.y))
        return {"kkt": _worst(each, x, y), "iterations": float(np.median(found.iterations))}

    return Work(lambda: pdhg.solve(problem, params, problem_axes=axes), len(each), flops=flops, report=report)


def _case(name, size, each, works, mpax, highs, tolerance, shared=False):
    if mpax and peers.installed():
        asked = each[:mpax]

        def report(found):
            return {"kkt": _worst(asked, found.x, found.y), "iterations": float(np.median(found.iterations))}

        call = peers.mpax(asked, tolerance, batched=len(asked) > 1, shared=shared)
        works[peers.MPAX] = Work(call, len(asked), repeats=5, report=report)
    for method in peers.HIGHS:
        works[method] = Work(
            peers.highs(each[:highs], method), highs, dtype="float64", repeats=10,
            report=lambda found: {"iterations": float(np.median([one.iterations for one in found]))},
        )  # fmt: skip
    return Case(
        name, "programs", (len(each), *size), works, f"b-matching, relative KKT {tolerance:g}, {each[0].costs.dtype}"
    )


def _worst(each, x, y):
    return max(
        float(linear_programs.kkt(one, (jnp.asarray(a), jnp.asarray(b))).residual)
        for one, a, b in zip(each, x, y, strict=False)
    )
