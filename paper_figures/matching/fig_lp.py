"""LP-OnOpt by dualscan: certified gap against wall time, and time against the fastest of HiGHS's methods."""

from experiments.lib import style
from experiments.matching import panels_lp as panels

CONFIGS = [
    "configs/matching/lp.py", "configs/matching/lp.py:batch", "configs/matching/lp.py:medium",
    "configs/matching/lp.py:large",
]  # fmt: skip
PAPER_CONFIGS = [
    "configs/matching/paper_lp.py", "configs/matching/paper_lp.py:batch", "configs/matching/paper_lp.py:medium",
    "configs/matching/paper_lp.py:large", "configs/matching/paper_lp.py:huge",
]  # fmt: skip

caption = (
    "The relaxation as a solver, Erdős–Rényi instances, float32. Left: certified gap (feasible value against a dual "
    "bound) over wall time after compilation. Right: seconds per instance to a certified gap of 1e-4, and HiGHS and "
    "MPAX (where installed) on the sparse state form of the same program (seconds inside the solver, neither assembly "
    "nor compilation counted), in the same run on the same machine."
)

_IDS = ("single", "batch", "medium", "large")


def draw(runs):
    fig, axes = style.figure("text", 0.44, 1, 2)
    panels.gap_panel(axes[0, 0], runs)
    panels.time_panel(axes[0, 1], runs)
    for ax in axes.flat:
        ax.legend(fontsize=6)
    return fig


def claims(runs):
    found = {}
    for name, run in zip((*_IDS, "huge"), runs, strict=False):
        found[f"gap/{name}"] = panels.largest_gap(run)
        if name in _IDS:
            found |= {f"speedup/{name}": panels.speedup(run), f"highs/{name}": panels.primal_within(run)}
    return found
