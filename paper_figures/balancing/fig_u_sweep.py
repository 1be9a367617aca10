"""Step sizes of bias updates: loads and losses of a language model."""

from experiments.balancing import panels_u_sweep as panels
from experiments.lib import style

CONFIGS = ["configs/balancing/u_sweep.py"]
PAPER_CONFIGS = ["configs/balancing/paper_u_sweep.py"]

caption = (
    "Step size of the sign rule by schedule. Left: MaxVio on the validation text in the worst layer; right: validation "
    "loss. Dotted: the step size that can just travel, in so many updates, the spread of the bias at the best balance; "
    "to the left of it balance is out of reach, far to the right of it the bias oscillates. Means and 95 % intervals."
)


def draw(runs):
    (run,) = runs
    fig, axes = style.figure("text", 0.45, 1, 2)
    panels.violation_panel(axes[0, 0], run)
    panels.loss_panel(axes[0, 1], run)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=6)
    return fig


def claims(runs):
    (run,) = runs
    names = panels.schedules(run)
    found = {f"best/{name.split()[1]}": panels.best(run, name) for name in names}
    ratios = {f"wall/{name.split()[1]}": panels.wall_ratio(run, name) for name in names}
    return found | {name: ratio for name, ratio in ratios.items() if ratio is not None}
