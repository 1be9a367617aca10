"""New York trips: what roundings and policies earn of LP-OnOpt by load, for a small fleet exactly and a larger one."""

from experiments.lib import style
from experiments.matching import panels_looks as looks
from experiments.matching import panels_nyc as panels

CONFIGS = ["configs/matching/nyc.py:small", "configs/matching/nyc.py"]
PAPER_CONFIGS = ["configs/matching/paper_nyc.py:small", "configs/matching/paper_nyc.py"]

caption = (
    "Real arrivals: riders of a Monday morning in New York, by quarter of an hour and pickup zone, typed; drivers wait "
    "in zones and serve nearby riders. Left: a small fleet, exactly, with the best online policy. Middle: a larger "
    "fleet, simulated. Mean and 95 % interval over n draws of the drivers; dashed: guarantees. Prices from the "
    "relaxation serve best; the rescaled rounding keeps its promise with a wide margin, and pays for it. Right: where "
    "trips begin."
)


def draw(runs):
    fig, axes = style.figure("text", 0.5, 1, 3, width_ratios=(1.3, 1.3, 1))
    for ax, run in zip(axes[0], runs, strict=False):
        panels.load_panel(ax, run)
    looks.ratio_axis(axes[0, 0], "LP-OnOpt")
    panels.map_panel(axes[0, 2], runs[-1])
    handles, labels = axes[0, 0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside lower center", ncols=6, fontsize=6)
    return fig


def claims(runs):
    small, large = runs
    return {
        "least_share": min(panels.least_share(run) for run in runs),
        "gap": max(panels.largest_gap(run) for run in runs),
        "small_scaled": panels.mean_share(small, "closed_form", 1.0),
        "small_unscaled": panels.mean_share(small, "unscaled", 1.0),
        "large_bid_price": panels.mean_share(large, "bid_price", 1.0),
    }
