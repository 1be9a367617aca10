"""How far loads are from balance under the sign rule, and the band that they never leave again."""

from experiments.balancing import panels_settling as panels
from experiments.lib import style

CONFIGS = ["configs/balancing/settling.py"]
PAPER_CONFIGS = ["configs/balancing/paper_settling.py"]

caption = (
    "Sign rule with constant steps on fixed scores. Left: one instance; the largest deviation of a load in a chunk of "
    "updates, and from N0 on (tick) the band of the theorem (dashed). Right: the largest deviation from N0 on over the "
    "band, every instance. Smaller steps settle closer, and later."
)


def draw(runs):
    (run,) = runs
    fig, axes = style.figure("text", 0.42, 1, 2)
    panels.course_panel(axes[0, 0], run)
    panels.share_panel(axes[0, 1], run)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside lower center", ncols=5, fontsize=6)
    return fig


def claims(runs):
    (run,) = runs
    return {"excess": panels.excess(run), "tested": panels.tested(run), "spread": panels.widest(run)}
