"""Cases of the comparisons: families of instances at given sizes, drawn together and padded to one shape."""

from collections.abc import Sequence

from research.core import prng
from research.core import validate as checks
from research.core.types import Key
from research.matching import problems

__all__ = ["FAMILIES", "draw", "label"]

#: name -> (key, parameter, n, T, dtype) -> problem. "hard" is one instance, `parameter` being its s: no draws.
FAMILIES = {
    "er": problems.er,
    "ba": problems.ba,
    "geom": problems.geom,
    "vertex": problems.vertex_weighted,
    "hard": lambda key, share, n, steps, dtype: problems.pad(
        problems.hard_edge(n - 1, share, 1e-3, dtype)[0], n, steps
    ),
}


def draw(key: Key, cases: Sequence[tuple], dtype) -> problems.Problem:
    """An instance of every case `(family, parameter, n, T)`, `[cases, n, T]`."""
    drawn = []
    for family, parameter, n, steps in cases:
        checks.one_of("config.problem.cases", family, tuple(FAMILIES))
        stream = prng.stream(key, f"{family}-{parameter}-{n}x{steps}")
        drawn.append(FAMILIES[family](stream, parameter, n, steps, dtype))
    return problems.stack(drawn)


def label(case: tuple) -> str:
    """A case in a few words, for axes of a run."""
    family, parameter, n, steps = case
    return f"{family} {parameter:g}, {n} x {steps}"
