"""Online maximin shares: measured ratios of goods and chores beside guarantees and impossibilities."""

from experiments.lib import style
from experiments.matching import panels_scheduling as panels

CONFIGS = ["configs/matching/scheduling.py"]
PAPER_CONFIGS = ["configs/matching/paper_scheduling.py"]

caption = (
    "Items that arrive one by one, every agent to get her maximin share up to a ratio. Lines: mean and 95 % interval "
    "over n random sequences; dotted: the worst of them; discs: the worst of all sequences with values on a grid; "
    "dashed in colour: what the rule never misses. Crosses: the value of the game on the grid of sixths, which no rule "
    "can beat there; dashed black: what no rule can beat at all (goods 1/2, chores 15/11)."
)


def draw(runs):
    (run,) = runs
    fig, axes = style.figure("text", 0.46, 1, 2)
    for ax, kind in zip(axes[0], ("goods", "chores"), strict=True):
        panels.kind_panel(ax, run, kind)
    axes[0, 0].set_ylim(0.2, 1.05)
    axes[0, 1].set_ylim(0, 1.8)
    handles = {label: h for ax in axes[0] for h, label in zip(*ax.get_legend_handles_labels(), strict=True)}
    fig.legend(list(handles.values()), list(handles), loc="outside lower center", ncols=3, fontsize=6)
    return fig


def claims(runs):
    (run,) = runs
    found = {name: panels.worst(run, name) for kind in ("goods", "chores") for name in panels.contests(kind)}
    return found | {f"game_{kind}": panels.game(run, kind) for kind in ("goods", "chores")}
