"""Measured regret against its bound, the two parts apart: instances made to break it, and the medical data."""

import numpy as np

from experiments.lib import style
from experiments.lib.tables import Measured
from experiments.regret import panels_bounds as panels

CONFIGS = ["configs/regret/bounds.py", "configs/regret/medical.py"]
PAPER_CONFIGS = ["configs/regret/paper_bounds.py", "configs/regret/medical.py"]

caption = (
    "Measured regret never exceeds its bound. Top: a point per random or adversarial instance (the entry closest to its "
    "bound) and, outlined, per group of the medical data (mean of shuffles). Bottom: the part of the aggregator and the "
    "whole regret of the worst group as rounds go by, mean and 95 % interval over shuffles, with the live certificates: "
    "√T for AdaNormalHedge, a constant for the Aggregating Algorithm. Right: the largest ratio per theorem."
)

_IDS = {
    "T1  ANH in the group learner": "t1_group_learner", "T1  ANH, confidence-rated": "t1_confidence_rated",
    "T1  ANH, mixtures of experts": "t1_mixtures", "T2  ridge experts": "t2_ridge", "T2  VAW experts": "t2_vaw",
    "T3  group regret, ANH": "t3_anh", "T4  specialist AA": "t4_aa", "T4  specialist EWA": "t4_ewa",
    "T2+T4  group regret, AA": "t24_aa", "T2+T4  group regret, EWA": "t24_ewa",
    "T6  Blum–Lykouris": "t6_blum_lykouris", "T6  multiplicative weights": "t6_multiplicative_weights",
}  # fmt: skip


def _data(runs):
    return {run.config.experiment.rpartition(".")[2]: run for run in runs[1:]}


def draw(runs):
    instances, data = runs[0], _data(runs)
    medical = {"medical": data["medical"]}
    fig, axes = style.figure("text", 0.72, 2, 3)
    for ax, part in zip(axes[0], panels.CLOUDS, strict=True):
        panels.scatter_panel(ax, part, instances, medical)
    axes[0, 0].set_ylabel("bound (squared loss)")
    for ax, part in zip(axes[1], ("meta", "total"), strict=False):
        panels.curves_panel(ax, data["medical"], part)
    axes[1, 0].legend(fontsize=5.5, loc="upper left", labelspacing=0.25)
    shuffles = data["medical"].config.run.replicates
    axes[1, 0].set_title(f"medical: meta part ({shuffles} shuffles)")
    axes[1, 1].set_title(f"medical: regret ({shuffles} shuffles)")
    axes[1, 0].set_ylabel("regret (squared loss)")
    panels.ratio_panel(axes[1, 2], instances, data)
    return fig


def claims(runs):
    count = runs[0].config.run.replicates
    found = {
        _IDS[name]: Measured(panels.instance_ratio(runs[0], metrics), -np.inf, np.inf, count)
        for name, metrics in panels.THEOREMS.items()
    }
    for name, run in _data(runs).items():
        shuffles = run.config.run.replicates
        for key, ratio in panels.data_ratios(run).items():
            found[f"{name}_{key.replace('/', '_')}"] = Measured(ratio, -np.inf, np.inf, shuffles)
    return found
