"""The certificate of Algorithm 1: its margin over steps and batches, where runs diverge, and its limit over n."""

from experiments.halpern import panels_certificate as panels
from experiments.lib import style

CONFIGS = ["configs/halpern/certificate.py"]
PAPER_CONFIGS = ["configs/halpern/paper_certificate.py"]

caption = (
    "Steps of Algorithm 1. Left: the margin of its certificate over step and batch; on the white line it is 1, left "
    "of it the bound is proved; from the dashed line on half of the seeds diverge, on least squares. Right: the "
    "largest certified step by n, with the values derived before, and the first step at which half of the seeds "
    "diverge: the certificate is for all problems of the class, and a factor below what this one bears."
)


def draw(runs):
    (run,) = runs
    fig, axes = style.figure("text", 0.46, 1, 2)
    shown = panels.margin_panel(axes[0, 0], run, 400)
    fig.colorbar(shown, ax=axes[0, 0], label="log₁₀ margin")
    panels.limit_panel(axes[0, 1], run)
    axes[0, 0].legend(fontsize=5, loc="lower left", frameon=True, facecolor="0.8")
    axes[0, 1].legend(fontsize=5)
    return fig


def claims(runs):
    (run,) = runs
    found = {f"limit/{n}": panels.limit(run, n) for n in (4, 25, 100, 400, 10_000)}
    found |= {f"saved/{n}": value for n, value in panels.saved(run).items()}
    return found | {"diverged": panels.certified_divergences(run), "room": panels.room(run)}
