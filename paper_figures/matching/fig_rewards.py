"""Stochastic rewards: shares of the matching program on the hard graph, and of the best policy on small instances."""

from experiments.lib import style
from experiments.matching import panels_rewards as panels

CONFIGS = ["configs/matching/rewards.py"]
PAPER_CONFIGS = ["configs/matching/paper_rewards.py"]

caption = (
    "Online matching with stochastic rewards, mean and 95 % interval over n independent replicates. Left and middle: "
    "share of the matching program on the thick upper-triangular graph with n nodes and p = 1/n, with its nodes in "
    "the order of their phases, which tells ties whom to serve, and renamed at random. Right: share of S-OPT, the "
    "best policy that knows graph and order, on renamed graphs and on random ad clicks (8 nodes)."
)


def draw(runs):
    (run,) = runs
    fig, axes = style.figure("text", 0.5, 1, 3, width_ratios=(1, 1, 1.6))
    for ax, kind, title in zip(axes[0], ("triangular", "permuted"), ("in order", "renamed"), strict=False):
        panels.program_panel(ax, run, kind)
        ax.set_title(title)
        ax.set_ylim(0.55, 1.0)
    axes[0, 0].set_ylabel("value / matching program")
    panels.optimum_panel(axes[0, 2], run)
    axes[0, 2].set_ylim(0.55, 1.02)
    axes[0, 2].set_ylabel("value / S-OPT")
    handles, labels = axes[0, 2].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=6)
    return fig


def claims(runs):
    (run,) = runs
    found = {
        "balance_lp": panels.least_share(run, "balance", "lp"),
        "balance_optimum": panels.least_share(run, "balance", "optimum"),
        "perturbed_greedy_optimum": panels.least_share(run, "perturbed_greedy", "optimum"),
    }
    for n in sorted({case[1] for case in run.config.problem.cases} & {20, 40}):
        for policy in ("balance", "perturbed_greedy", "random"):
            found[f"{policy}_{n}"] = panels.at(run, "permuted", n, policy)
    return found
