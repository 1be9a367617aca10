"""Policeman and burglar with weighted columns: the published race, and what centring and restarts do."""

from experiments.halpern import panels_contest as panels
from experiments.lib import style

CONFIGS = ["configs/halpern/game.py"]
PAPER_CONFIGS = ["configs/halpern/paper_game.py"]

caption = (
    "Natural residual against epochs (component evaluations / n) on the policeman and burglar game, n = 500, columns "
    "weighted; geometric mean over seeds, 95 % interval. Left: methods and steps as published. Steps of 5/|A| exceed "
    "1/L; they work because the dominant singular direction is nearly the constant vector, which simplices do not see. "
    "The game has a pure minimiser, its value is the least weight, and plateaus are gaps between order statistics of "
    "the weights. The inner solver keeps its snapshot where the method defines it, which does not show, and its first "
    "full evaluation is charged, which doubles the price of Algorithm 2 against the published one. Right: the centred "
    "game with certified steps, drawn by importance: Algorithm 2 with restarts, and reflected with a certificate for "
    "every inner solve, beside the published form."
)

_PUBLISHED = ("eg", "eag", "vr_eg", "page", "alg2", "reflected")


def draw(runs):
    (run,) = runs
    fig, axes = style.figure("text", 0.5, 1, 2, sharey=True)
    panels.curves_panel(axes[0, 0], run, [name for name in panels.methods(run) if name in _PUBLISHED])
    ours = ("eg", "alg2", "restarted", "certified")
    panels.curves_panel(axes[0, 1], run, [name for name in panels.methods(run) if name in ours])
    axes[0, 0].set_title("as published")
    axes[0, 1].set_title("centred, certified steps")
    for ax in axes.flat:
        panels.epoch_axis(ax)
    axes[0, 1].set_ylabel("")
    panels.legend_below(fig, axes.flat)
    return fig


def claims(runs):
    (run,) = runs
    found = {
        f"{name}/{epochs}": panels.reached(run, name, epochs)
        for name in (*_PUBLISHED, "restarted")
        for epochs in (100, 1000, 5000)
    }
    return {key: value for key, value in found.items() if value is not None}
