"""Root mean squares over seeds against every bound of the two algorithms, and how fast last iterates decay."""

from experiments.halpern import panels_bounds as panels
from experiments.lib import style

CONFIGS = ["configs/halpern/bounds.py"]
PAPER_CONFIGS = ["configs/halpern/paper_bounds.py"]

caption = (
    "Left: upper 95 % limit of the root mean square over seeds, divided by the bound, on the worst instance, point by "
    "point. Nothing exceeds 1; the reflected iteration attains it. Others: last iterates of Algorithm 1 (|F + g|) "
    "and of Algorithm 2 with the inner solves that theory asks for (|u − J(u)|), on the flattest and the steepest "
    "spectrum, their bounds (dashed), and slopes fitted over the last three quarters with 95 % intervals. Both bounds "
    "fall as 1/k; on a steep spectrum Algorithm 1 starts far below its bound and falls more slowly for long."
)


def draw(runs):
    (run,) = runs
    fig, axes = style.figure("text", 0.42, 1, 3)
    panels.ratio_panel(axes[0, 0], run)
    for ax, name in zip(axes[0, 1:], ("page", "inexact"), strict=True):
        panels.decay_panel(ax, run, name)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=6)
    return fig


def claims(runs):
    (run,) = runs
    found = {f"ratio/{name}": panels.largest_ratio(run, name) for name in panels.THEOREMS}
    return found | {f"slope/{name}": panels.decay_of(run, name, 0) for name in ("page", "exact", "inexact")}
