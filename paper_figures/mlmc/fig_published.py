"""The published problems with the published settings of READ: error against cost, a running mean, and two scatters."""

from experiments.lib import style
from experiments.mlmc import panels_rates as panels

_RUNS = ("", ":t", ":sigmoid")
CONFIGS = [f"configs/mlmc/published.py{case}" for case in _RUNS]
PAPER_CONFIGS = [f"configs/mlmc/paper_published.py{case}" for case in _RUNS]

caption = (
    "The published problems with r = (0.74, 0.60). Top left: mean squared error on E1. The published script averaged "
    "its 20 repetitions before it squared, which shows the error of a run twenty times as long at the cost of one "
    "(dotted); ours is the mean of squared errors. E1 is kind to nested Monte Carlo: its inner expectation is zero "
    "everywhere and the inner biases cancel. Top right: one repetition with 1.96 standard errors; only 2.06 moments "
    "are finite there, so the band is too narrow. Bottom: estimates of all repetitions on the problems with t noise "
    "and with sigmoids."
)


def draw(runs):
    toy, noise, sigmoid = runs
    fig, axes = style.figure("text", 0.75, 2, 2)
    panels.averaged_panel(axes[0, 0], toy)
    panels.error_panel(axes[0, 0], toy)
    panels.running_panel(axes[0, 1], toy)
    for ax, run, title in ((axes[1, 0], noise, "t noise"), (axes[1, 1], sigmoid, "sigmoid")):
        panels.scatter_panel(ax, run)
        ax.set_title(title)
    axes[0, 0].set_title("E1")
    axes[0, 1].set_title("E1, one repetition")
    return fig


def claims(runs):
    toy, noise, sigmoid = runs
    found = {f"slope/{name}": panels.slope_of(toy, name) for name in ("read", "equal", "square")}
    for name, run in (("E1", toy), ("t", noise), ("sigmoid", sigmoid)):
        found[f"error/{name}"] = panels.final(run)
    return found
