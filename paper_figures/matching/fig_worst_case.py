"""The instance built against the rounding: value over LP-OnOpt, simulated and in closed form, beside the guarantees."""

from experiments.lib import style
from experiments.matching import panels_looks as looks
from experiments.matching import panels_worst_case as panels

CONFIGS = ["configs/matching/worst_case.py"]
PAPER_CONFIGS = ["configs/matching/paper_worst_case.py"]

caption = (
    "How tight the guarantees are. On the instance built against it the rounding earns what the closed form says "
    "(lines) in simulation too (points: mean and 95 % interval over n independent replicates). Left: against s, the "
    "share of the last arrival that wants nearly exhausted nodes. Rescaled, the worst s keeps 0.679; unscaled it falls "
    "to 1 − 1/e; the philosopher gets everything. Right: at the worst s, against the number of exhausted nodes."
)

_WORST = 0.724


def draw(runs):
    (run,) = runs
    fig, axes = style.figure("text", 0.42, 1, 2)
    panels.against_share(axes[0, 0], run)
    panels.against_size(axes[0, 1], run, _WORST)
    looks.ratio_axis(axes[0, 0], "LP-OnOpt")
    axes[0, 0].legend(fontsize=6, loc="upper right", bbox_to_anchor=(1, 0.94))
    axes[0, 1].legend(fontsize=6)
    return fig


def claims(runs):
    (run,) = runs
    return {"deviation": panels.largest_deviation(run)} | panels.formula_claims(run, (50, 200, 1000), _WORST)
