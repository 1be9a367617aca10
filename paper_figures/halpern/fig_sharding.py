"""Components in strata and over devices: convergence, and distance from one device."""

from experiments.halpern import panels_sharding as panels
from experiments.lib import style

CONFIGS = ["configs/halpern/sharding.py"]
PAPER_CONFIGS = ["configs/halpern/paper_sharding.py"]

caption = (
    "Algorithm 1 on least squares. Left: residual over epochs with draws in one stratum of rows (independent) and in "
    "several, geometric mean and 95 % interval over n seeds. Right: the same draws with the rows over several CPU "
    "devices, relative distance of the points from those of one device; differences below 1e-9 are drawn there. An "
    "iteration adds up one point between devices."
)


def draw(runs):
    (run,) = runs
    fig, axes = style.figure("text", 0.42, 1, 2)
    panels.strata_panel(axes[0, 0], run)
    panels.devices_panel(axes[0, 1], run)
    return fig


def claims(runs):
    (run,) = runs
    return {"strata": panels.stratified(run), "devices": panels.farthest(run), "sent": panels.sent(run)}
