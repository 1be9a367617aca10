"""What roundings and policies earn of the philosopher by family, and of LP-OnOpt against the number of nodes."""

from experiments.lib import style
from experiments.matching import panels_looks as looks
from experiments.matching import panels_ratio as panels

CONFIGS = ["configs/matching/ratio.py", "configs/matching/ratio.py:growth"]
PAPER_CONFIGS = ["configs/matching/paper_ratio.py", "configs/matching/paper_ratio.py:growth"]

caption = (
    "Exact values on random instances. Top: share of the best online policy's value by family, 10 nodes and 20 "
    "arrivals: quartiles (bars), median (dot) and extremes over instances. Bottom: share of LP-OnOpt as the number of "
    "nodes or of arrivals grows (Erdős–Rényi, half of the edges), mean and 95 % interval. Only the rescaled rounding "
    "carries the guarantee 0.678; on benign inputs it pays three to five per cent for it."
)

_NAMES = {
    "lp": "lp", "closed_form": "scaled", "unscaled": "unscaled", "keep": "keep", "greedy": "greedy", "fgl": "fgl",
    "bid_price": "bid_price",
}  # fmt: skip


def draw(runs):
    families, grown = runs
    fig, _ = style.figure("text", 0.85)
    fig.clear()
    above, below = fig.subfigures(2, 1, height_ratios=(1, 0.9))
    top, bottom = above.subplots(), below.subplots(1, 2, sharey=True)
    panels.by_family(top, families, "philosopher")
    top.set_ylim(0.48, 1.01)
    for ax, axis in zip(bottom, ("nodes", "arrivals"), strict=True):
        panels.growth(ax, grown, axis)
        ax.set_ylim(0.48, 1.01)
    looks.ratio_axis(bottom[0], "LP-OnOpt")
    handles = {
        label: handle for ax in (top, *bottom) for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)
    }
    fig.legend(list(handles.values()), list(handles), loc="outside lower center", ncols=4, fontsize=6)
    return fig


def claims(runs):
    families, grown = runs
    found = {"least_share": min(panels.least_share(families), panels.least_share(grown))}
    found["least_slack"] = min(panels.least_slack(families), panels.least_slack(grown))
    for name, short in _NAMES.items():
        for label, share in panels.claims_of(families, name).items():
            found[f"{short}/{label}"] = share
    return found
