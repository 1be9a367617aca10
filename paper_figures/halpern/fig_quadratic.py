"""A quadratic program hard for first-order methods: the published race on the epoch axis, with FEG beside it."""

from experiments.halpern import panels_contest as panels
from experiments.lib import style

CONFIGS = ["configs/halpern/quadratic.py"]
PAPER_CONFIGS = ["configs/halpern/paper_quadratic.py"]

caption = (
    "|F| against epochs (component evaluations / n) on a quadratic program hard for first-order methods, n = 200; "
    "geometric mean over seeds and 95 % interval, single seeds thin. Steps as published, and FEG at its proved step: L "
    "is nine times L_F here, no gain of variance reduction is predicted, and FEG keeps up with Algorithm 1. F is not "
    "cocoercive, but every eigenvalue l has Re l = |l|², which is why Algorithm 1 gets along with a step for which "
    "nothing is proved; bursts of single seeds show that nothing is."
)


def draw(runs):
    (run,) = runs
    fig, ax = style.figure("text", 0.5)
    panels.curves_panel(ax, run)
    if "page" in panels.methods(run):
        panels.seeds(ax, run, "page")
    panels.epoch_axis(ax, "|F|")
    panels.legend_below(fig, [ax], ncols=3)
    return fig


def claims(runs):
    (run,) = runs
    found = {
        f"{name}/{epochs}": panels.reached(run, name, epochs)
        for name in panels.methods(run)
        for epochs in (10_000, 100_000, 1_000_000)
    }
    return {key: value for key, value in found.items() if value is not None}
