"""CARPool: unbiased spectra, and the volume that a cheap simulation of the same seed is worth."""

from experiments.lib import style
from experiments.mlmc import panels_carpool as panels

CONFIGS = ["configs/mlmc/carpool.py"]
PAPER_CONFIGS = ["configs/mlmc/paper_carpool.py"]

caption = (
    "Control variates from fast simulations of the same white noise. Top left: spectra estimated from groups of pairs "
    "over the mean of slow runs with seeds of their own, mean and 95 % interval over n groups. Others: variance of a "
    "spectrum over what is left of it with a surrogate, that is, the factor of effective volume, for surrogates of "
    "second order perturbation theory and of a particle mesh with few steps; points with BCa intervals are measured "
    "out of sample, lines are 1 / (1 − R²). Bottom right: by kind of β, for matter."
)


def draw(runs):
    (run,) = runs
    fig, axes = style.figure("text", 0.62, 2, 3)
    panels.bias_panel(axes[0, 0], run)
    for ax, kind in zip((axes[0, 1], axes[0, 2], axes[1, 0]), panels.KINDS, strict=True):
        panels.reduction_panel(ax, run, kind)
    panels.bias_panel(axes[1, 1], run, "lrg")
    panels.kinds_panel(axes[1, 2], run)
    axes[0, 0].set_title("matter")
    axes[1, 1].set_title("LRG-like")
    axes[1, 2].set_title("matter, kinds of β")
    for ax in (axes[0, 1], axes[1, 0]):
        ax.set_ylabel("variance reduction")
    for ax in (axes[0, 0], axes[0, 1], axes[1, 2]):
        ax.legend(fontsize=5)
    return fig


def claims(runs):
    (run,) = runs
    return {
        "agreement": panels.agreement(run),
        "unbiased": panels.largest_z(run),
        "matter": panels.typical_reduction(run, "matter"),
        "lrg": panels.typical_reduction(run, "lrg"),
        "elg": panels.typical_reduction(run, "elg"),
    }
