"""Robust logistic regression on real data: who wins, and who was expected to."""

from experiments.halpern import panels_robust as panels
from experiments.lib import style

CONFIGS = ["configs/halpern/robust.py", "configs/halpern/robust.py:cancer"]
PAPER_CONFIGS = ["configs/halpern/paper_robust.py", "configs/halpern/paper_robust.py:cancer"]

caption = (
    "Logistic regression against the worst weights of the samples. Left and middle: natural residual over epochs, "
    "geometric mean and 95 % interval over n seeds; dotted: the accuracy of the right panel. The problem is strongly "
    "monotone, so that anchors only slow; L is nearly √n L_F, so that variance reduction cannot win with certified "
    "steps, as predicted. With the step that a constant without proof suggests, VR-EG wins on digits. Right: epochs "
    "to the accuracy where it was reached, and as worst cases predict them (open)."
)


def draw(runs):
    fig, axes = style.figure("text", 0.5, 1, 3)
    for ax, run in zip(axes[0], runs, strict=False):
        panels.race_panel(ax, run)
    axes[0, 1].set_ylabel("")
    panels.epochs_panel(axes[0, 2], runs)
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=6)
    return fig


def claims(runs):
    digits, cancer = runs
    ends = [name for name in ("eg", "forb", "vr_eg_bold") if 100 in digits.config.problem.epochs]
    return {f"end/{name}": panels.at(digits, name, 100) for name in ends} | {
        "saddle": panels.saddle(digits), "gap": panels.gap(digits),
        "predicted": panels.advantage(digits, "vr_forb", "eg"), "bold": panels.advantage(digits, "vr_eg_bold", "eg"),
        "predicted/cancer": panels.advantage(cancer, "vr_forb", "eg"),
    }  # fmt: skip
