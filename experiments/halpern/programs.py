"""Linear programs by name, as experiments and benchmarks draw them: key of a replicate -> program."""

import jax

from experiments.halpern import matching_lp
from research.core import validate as checks
from research.core.types import Key
from research.halpern import linear_programs
from research.halpern.inclusions import Problem

__all__ = ["KINDS", "batch", "draw"]

#: Kind of a program -> its generator from key, size and dtype; `fluid` and `online` are of the matching family.
KINDS = {
    "b_matching": lambda key, size, dtype: linear_programs.b_matching(key, *size, dtype),
    "packing": lambda key, size, dtype: linear_programs.packing(key, *size, dtype),
    "fluid": lambda key, size, dtype: matching_lp.fluid(matching_lp.draw(key, size, dtype)),
    "online": lambda key, size, dtype: matching_lp.online(matching_lp.draw(key, size, dtype)),
}


def draw(kind: str, size: tuple[int, ...], key: Key, dtype) -> Problem:
    """A program of this kind and size, from z = 0."""
    checks.one_of("config.problem.kind", kind, tuple(KINDS))
    program = KINDS[kind](key, size, dtype)
    return Problem(program, linear_programs.zero_start(program))


def batch(kind: str, size: tuple[int, ...], keys: Key, dtype) -> Problem:
    """Programs of all keys `[B]`, in front of every array."""
    return jax.jit(jax.vmap(lambda key: draw(kind, size, key, dtype)))(keys)
