"""The rounding's choices: how losers are treated, how x is rescaled, and what the guarantee costs on benign inputs."""

from experiments.lib import style
from experiments.matching import panels_ablation as panels

CONFIGS = ["configs/matching/ablation.py"]
PAPER_CONFIGS = ["configs/matching/paper_ablation.py"]

caption = (
    "Choices of the rounding, exact values. Left: share of LP-OnOpt by mode and family, mean and 95 % interval over n "
    "instances; filled with the rescaling (.11, .18), hollow without. The closed form equals pivotal sampling to "
    "1e-3; keeping the losers helps and forfeits the guarantee; on the hard instance only the rescaling helps. Right: "
    "mean share on the benign families as a function of (ε, δ): what the guarantee of fig_rho costs there."
)


def draw(runs):
    (run,) = runs
    fig, axes = style.figure("text", 0.48, 1, 2, width_ratios=(1.6, 1))
    panels.modes_panel(axes[0, 0], run)
    panels.price_panel(axes[0, 1], run)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside lower center", ncols=5, fontsize=6)
    return fig


def claims(runs):
    (run,) = runs
    scaled = "braverman:24"
    return {
        "least_share": panels.least_share(run),
        "closed_form_pivotal": panels.difference(run, ("closed_form", scaled), ("pivotal", scaled)),
        "closed_form_independent": panels.difference(run, ("closed_form", scaled), ("independent", scaled)),
        "keep_closed_form": panels.difference(run, ("keep", "none"), ("closed_form", "none")),
        "price": panels.difference(run, ("closed_form", "none"), ("closed_form", scaled)),
    }
