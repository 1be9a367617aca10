"""Logistic regression on handwritten digits: too few samples for variance reduction to pay at certified steps."""

from experiments.halpern import panels_least_squares as panels
from experiments.lib import style

CONFIGS = ["configs/halpern/least_squares.py:digits"]
PAPER_CONFIGS = ["configs/halpern/paper_least_squares.py:digits"]

caption = (
    "Class A with few components: logistic regression on 1,797 images of digits, natural residual over epochs, "
    "geometric mean and 95 % interval over n seeds. By worst cases variance reduction wins from about 1,200 "
    "components on if L = L_F; here L exceeds L_F. At its certified step Algorithm 1 beats the anchored method and "
    "loses to the plain one; at 1/L it draws level."
)


def draw(runs):
    (run,) = runs
    fig, ax = style.figure("column", 0.95)
    panels.race_panel(ax, run)
    fig.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=5)
    return fig


def claims(runs):
    (run,) = runs
    return {
        "parity": panels.over(run, "page_one", "gd"), "certified": panels.over(run, "page_half", "gd"),
    }  # fmt: skip
