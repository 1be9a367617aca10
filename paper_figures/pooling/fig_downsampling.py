"""Photographs halved by pools and enlarged again: PSNR and SSIM by pool and by sharpness."""

from experiments.lib import style
from experiments.pooling import panels_downsampling as panels

CONFIGS = ["configs/pooling/downsampling.py"]
PAPER_CONFIGS = ["configs/pooling/paper_downsampling.py"]

caption = (
    "Ten photographs in grey, [0, 1], halved with 2 x 2 windows and enlarged linearly; mean over photographs, 95 % "
    "interval over crops. Right: SoftPool against its sharpness; 0 is the average, infinity the maximum. The average "
    "has the least squared error of all constants per window (T5), so nothing keeps more where elements are repeated. "
    "Enlarged linearly it need not be so: a sharpness of 0.3 can gain a thousandth of a decibel."
)


def draw(runs):
    (run,) = runs
    fig, axes = style.figure("text", 0.6, 2, 2)
    for row, metric in zip(axes, ("psnr", "ssim"), strict=True):
        panels.pools_panel(row[0], run, metric)
        panels.sharpness_panel(row[1], run, metric)
    axes[0, 1].legend(fontsize=6)
    return fig


def claims(runs):
    (run,) = runs
    found = {"better": panels.better(run)}
    for metric in ("psnr", "ssim"):
        for one, other in (("average", "SoftPool 1"), ("SoftPool 1", "SoftPool 10"), ("SoftPool 10", "max")):
            found[f"{metric}/{one} over {other}"] = panels.lead(run, metric, one, other)
        found[f"{metric}/rise"] = panels.rises(run, metric)
    for metric in ("psnr_nearest", "ssim"):
        found[f"{metric}/best"] = panels.best_sharpness(run, metric)
    return found
