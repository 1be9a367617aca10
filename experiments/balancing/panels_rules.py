"""How this family's figures name and colour rules of bias updates."""

from experiments.balancing import contest
from experiments.lib import style

__all__ = ["label", "look", "places"]

_HUES = style.PALETTE
_DASHED, _DOTTED = (0, (5, 1)), (0, (3, 1, 1, 1))

#: By rule and schedule.
_LOOKS = {
    "sign const": style.Look("sign, u", _HUES["vermilion"], "-", "^"),
    "sign inv": style.Look("sign, u/n", _HUES["orange"], _DASHED, "v"),
    "sign inv_sqrt": style.Look("sign, u/√n", _HUES["purple"], _DOTTED, "D"),
    "prop const": style.Look("proportional, ε", _HUES["blue"], "-", "o"),
    "prop inv": style.Look("proportional, ε/n", _HUES["green"], _DASHED, "s"),
    "prop inv_offset": style.Look("proportional, ε/(n + n₀)", _HUES["green"], _DASHED, "s"),
    "prop inv_sqrt": style.Look("proportional, ε/√n", _HUES["sky"], _DOTTED, "P"),
    "none": style.Look("none", _HUES["grey"], "-", "."),
}


def look(row: str) -> style.Look:
    """The look of a row "RULE SCHEDULE U" or "none"."""
    (found,) = contest.rows([row])
    return _LOOKS[found.method]


def places(run, kind: str = "") -> list[tuple[int, str]]:
    """Numbers and texts of the run's rows, of those of one rule where it is named."""
    return [(at, row) for at, row in enumerate(run.config.algo.rows) if not kind or row.split()[0] == kind]


def label(run, row: str, unit: str = "") -> str:
    """The look's label, with the step size where rows of the run differ in nothing else."""
    (read,) = contest.rows([row])
    alike = [text for text in run.config.algo.rows if text.rpartition(" ")[0] == row.rpartition(" ")[0]]
    symbol = "u" if read.method.startswith("sign") else "ε"
    if len(alike) == 1:
        return look(row).label
    return f"{look(row).label.removesuffix(f', {symbol}')}, {symbol} = {read.value:g}{unit}"
