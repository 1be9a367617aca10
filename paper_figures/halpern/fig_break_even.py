"""Whether variance reduction pays: calls of FEG over those of Algorithm 2, and the break-even of worst cases."""

from experiments.halpern import panels_break_even as panels
from experiments.lib import style

CONFIGS = ["configs/halpern/break_even.py"]
PAPER_CONFIGS = ["configs/halpern/paper_break_even.py"]

caption = (
    "Calls that FEG needs to an accuracy over those of Algorithm 2, unconstrained bilinear problems with singular "
    "values i^-a; geometric mean and 95 % interval over seeds of the draws. Below 1 variance reduction loses. Dashed: "
    "what worst cases predict. Measured, calls are equal well before the predicted break-even: typical starts are "
    "kinder to FEG than its worst case, most of all where L / L_F nears √n and all singular values are alike."
)


def draw(runs):
    (run,) = runs
    fig, ax = style.figure("column", 0.8)
    panels.panel(ax, run)
    ax.legend(fontsize=6)
    return fig


def claims(runs):
    (run,) = runs
    return {
        "won": panels.won_where_predicted(run), "crossing": panels.crossing(run), "unreached": panels.unreached(run),
    }  # fmt: skip
