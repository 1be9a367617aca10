"""How this family's figures name and colour methods."""

from experiments.lib import style

__all__ = ["METHODS"]

_HUES = style.PALETTE

METHODS = {
    "read": style.Look("READ", _HUES["blue"], "-", "o"),
    "coupled": style.Look("READ, coupled sum", _HUES["sky"], (0, (5, 1)), "s"),
    "block": style.Look("READ, block sums", _HUES["green"], (0, (3, 1, 1, 1)), "D"),
    "sobol": style.Look("READ, Sobol' leaves", _HUES["purple"], "-", "h"),
    "equal": style.Look("NMC1", _HUES["vermilion"], "-", "^"),
    "square": style.Look("NMC2", _HUES["orange"], (0, (5, 1)), "v"),
    "best": style.Look("NMC, best allocation", _HUES["yellow"], "-", "P"),
    "multilevel": style.Look("MLMC", _HUES["black"], (0, (3, 1, 1, 1)), "X"),
    "averaged": style.Look("READ, as published", _HUES["grey"], (0, (1, 1)), "."),
}
