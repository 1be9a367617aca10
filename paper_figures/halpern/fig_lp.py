"""Linear programs: convergence with and without its parts, iterations beside the stated ones, time beside peers."""

from experiments.halpern import panels_lp as panels
from experiments.lib import style

CONFIGS = [
    "configs/halpern/lp.py:small", "configs/halpern/lp.py", "configs/halpern/lp.py:large",
    "configs/halpern/lp.py:packing", "configs/halpern/matching_lp.py",
]  # fmt: skip
PAPER_CONFIGS = [
    "configs/halpern/paper_lp.py:small", "configs/halpern/paper_lp.py", "configs/halpern/paper_lp.py:large",
    "configs/halpern/paper_lp.py:packing", "configs/halpern/paper_matching_lp.py", "configs/halpern/paper_lp.py:huge",
]  # fmt: skip

caption = (
    "Restarted Halpern PDHG on linear programs, float64. First: relative KKT residual, median and range over "
    "instances; without restarts the anchor's rate is all there is. Second: iterations of every instance to 1e-8; bars "
    "are the stated ones. Third: LP-OnOpt of the matching family, its matrix never stored; where the primal weight "
    "swings from one extreme to the other an instance stands nearly still. Last: seconds per program "
    "to 1e-8 on b-matchings in the same run on the same machine; r2HPDHG looks at its residual every 100 iterations, "
    "and HiGHS's time includes a millisecond of SciPy's."
)

_IDS = ("small", "single", "large", "packing")


def draw(runs):
    fig, axes = style.figure("text", 0.78, 2, 2)
    panels.residual_panel(axes[0, 0], runs[2])
    panels.iterations_panel(axes[0, 1], runs[:4])
    panels.residual_panel(axes[1, 0], runs[4])
    panels.time_panel(axes[1, 1], [*runs[:3], *runs[5:]])
    for ax in axes.flat:
        ax.legend(fontsize=5)
    return fig


def claims(runs):
    found = {}
    for name, run in zip(_IDS, runs[:4], strict=True):
        found |= {f"iterations/{name}": panels.median_share(run), f"highs/{name}": panels.agreement(run)}
    for name, run in zip((*_IDS[:3], "huge"), (*runs[:3], *runs[5:]), strict=False):
        for peer, solvers in (("mpax", ("r2HPDHG",)), ("highs", ("HiGHS simplex", "HiGHS interior point"))):
            speedup = panels.speedup(run, solvers)
            if speedup is not None:
                found[f"speedup/{peer}/{name}"] = speedup
    online = runs[4]
    return found | {
        "online/certified": panels.certified_within(online), "online/highs": panels.agreement(online),
        "online/met": panels.met_share(online),
    }  # fmt: skip
