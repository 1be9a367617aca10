"""Online shortest paths: regret of groups under the bounds, all groups at the end, and why leaders are perturbed."""

import numpy as np

from experiments.lib import style
from experiments.lib.tables import measured, without_interval
from experiments.regret import panels_paths as panels

CONFIGS = ["configs/regret/paths.py", "configs/regret/paths.py:alternating"]
PAPER_CONFIGS = ["configs/regret/paper_paths.py", "configs/regret/paper_paths.py:alternating"]

caption = (
    "Online shortest paths on a grid, overlapping groups whose costs drift apart. Top: regret of two groups against "
    "their best fixed path, mean and 95 % interval over instances, with the bounds; the axis is linear within ±10. "
    "Bottom left: regret per round of every group at the end; negative where no fixed path follows the drift. Bottom "
    "right: on the alternating stream a leader without perturbation is wrong in every round and leaves the bound; the "
    "theorem's perturbation pays almost nothing."
)


def draw(runs):
    traffic, alternating = runs
    fig, axes = style.figure("text", 0.8, 2, 2)
    groups = traffic.axes["group"]
    smallest = int(np.argmin(traffic.curves["rounds"][-1].mean(axis=0)))
    for ax, group in zip(axes[0], (smallest, len(groups) - 1), strict=True):
        panels.regret_panel(ax, traffic, group)
        ax.set_xlabel("rounds of the group")
    axes[0, 0].set_ylabel("regret (sum of mean edge costs)")
    panels.legend(axes[0, 0])
    panels.groups_panel(axes[1, 0], traffic)
    panels.legend(axes[1, 0], loc="upper left")
    panels.perturbation_panel(axes[1, 1], alternating)
    axes[1, 1].set_title("alternating stream: the leader's regret")
    axes[1, 1].set_ylabel("regret (sum of mean edge costs)")
    panels.legend(axes[1, 1], loc="lower left")
    return fig


def claims(runs):
    traffic, alternating = runs
    count = traffic.config.run.replicates
    unbounded = panels.regret(alternating, "leader", "0")[-1, :, -1] / alternating.curves["step"][-1]
    ratios = [np.max(panels.leader_ratio(run)) for run in runs]
    return {
        "t5_ratio": without_interval(max(ratios), count),
        "t1_ratio": without_interval(max(np.max(panels.meta_ratio(run)) for run in runs), count),
        "t5_factor": measured(panels.bound_factor(traffic)),
        "unperturbed_rate": measured(unbounded),
    }
