"""How this family's figures name and colour algorithms, benchmarks and guarantees."""

from experiments.lib import style
from research.matching import bounds

__all__ = ["ALGORITHMS", "SCALINGS", "guarantee_line", "ratio_axis"]

_HUES = style.PALETTE

#: Algorithms on LP-OnOpt's solution, and policies beside them. Two colours serve twice: pivotal sampling and bins are
#: drawn beside other roundings only, greedy and static prices beside other policies.
ALGORITHMS = {
    "closed_form": style.Look("rounding, rescaled", _HUES["blue"], "-", "o"),
    "unscaled": style.Look("rounding, unscaled", _HUES["sky"], (0, (5, 1)), "s"),
    "pivotal": style.Look("pivotal sampling, rescaled", _HUES["purple"], (0, (3, 1, 1, 1)), "D"),
    "independent": style.Look("independent proposals", _HUES["grey"], "-", "X"),
    "bins": style.Look("bins", _HUES["orange"], (0, (3, 1, 1, 1)), "v"),
    "keep": style.Look("losers kept, unscaled", _HUES["green"], "-", "P"),
    "half": style.Look("single offers (1/2)", _HUES["yellow"], "-", "h"),
    "fgl": style.Look("static prices (1/2)", _HUES["orange"], "-", "^"),
    "greedy": style.Look("greedy", _HUES["purple"], (0, (5, 1)), "*"),
    "bid_price": style.Look("bid prices", _HUES["vermilion"], "-", "<"),
    "philosopher": style.Look("philosopher", _HUES["black"], "-", "_"),
}

#: The two rescalings of the rounding.
SCALINGS = {"scaled": ALGORITHMS["closed_form"], "unscaled": ALGORITHMS["unscaled"]}

_NAMES = {"pivotal": "0.678", "pivotal_vertex": "0.685", "bins": "0.652", "independent": "1 − 1/e", "half": "1/2"}


def guarantee_line(ax, key: str, *, side: str = "left") -> None:
    """A horizontal line at one of `bounds.GUARANTEES`, named at its left or right end."""
    ratio = bounds.GUARANTEES[key].ratio
    ax.axhline(ratio, color="0.45", linestyle="--", linewidth=0.8, zorder=1, label="_nolegend_")
    ax.annotate(
        _NAMES[key], (0 if side == "left" else 1, ratio), xycoords=("axes fraction", "data"),
        xytext=(2 if side == "left" else -2, -1 if key == "independent" else 1), textcoords="offset points", ha=side,
        va="top" if key == "independent" else "bottom", fontsize=6, color="0.3",
    )  # fmt: skip


def ratio_axis(ax, benchmark: str) -> None:
    """The vertical axis of a panel of ratios."""
    ax.set_ylabel(f"value / {benchmark}")
