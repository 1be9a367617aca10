"""Loads and losses of a small language model by way of balancing."""

from experiments.balancing import panels_lm_schedules as panels
from experiments.lib import style
from experiments.lib.tables import Measured

CONFIGS = ["configs/balancing/lm_schedules.py"]
PAPER_CONFIGS = ["configs/balancing/paper_lm_schedules.py"]

caption = (
    "A language model of 1.7 M parameters on bytes of Python's standard library, by way of balancing. Left: MaxVio on "
    "the validation text by layer. Middle: MaxVio of a training batch, mean over the last steps; dashed, its floor for "
    "independent tokens, black, the floor for batches that vary as much as these. Right: validation loss less that "
    "without balancing, with the same first weights and batches, and its 95 % interval. Left and middle: means over "
    "seeds, and lines from the least to the largest. A row ends with its step size u, or its loss's weight."
)


def draw(runs):
    (run,) = runs
    fig, axes = style.figure("text", 0.32 + 0.025 * len(panels.row_names(run)), 1, 3, sharey=True)
    for ax, panel in zip(axes[0], (panels.global_panel, panels.batch_panel, panels.loss_panel), strict=True):
        panel(ax, run)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    more, names = axes[0, 1].get_legend_handles_labels()
    floors = [at for at, name in enumerate(names) if name.startswith("floor")]
    handles, labels = handles + [more[at] for at in floors], labels + [names[at] for at in floors]
    fig.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=6)
    return fig


def claims(runs):
    (run,) = runs
    none, sign = panels.violations(run, "none").max(axis=1), panels.violations(run, "sign const 0.01")
    return {
        "none": Measured(float(none.min()), float(none.min()), float(none.max()), none.size),
        "sign": Measured(float(sign.max()), float(sign.min()), float(sign.max()), sign.size),
        "penalty": panels.loss_difference(run, "sign const 0.01", "none"),
        "travel": panels.travelled(run),
    }
