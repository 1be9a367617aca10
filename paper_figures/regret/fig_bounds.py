"""Measured regret against its bound, the two parts apart: instances made to break it, and the medical data."""

from experiments.lib import style
from experiments.lib.tables import without_interval
from experiments.regret import panels_bounds as panels

#: The instances first; then runs of the comparison, which their own figures need as well.
CONFIGS = ["configs/regret/bounds.py", "configs/regret/medical.py", "configs/regret/synthetic.py"]
PAPER_CONFIGS = [
    "configs/regret/paper_bounds.py", "configs/regret/medical.py", "configs/regret/synthetic.py",
    "configs/regret/adult.py",
]  # fmt: skip

caption = (
    "Measured regret never exceeds its bound (grey: excluded). Top: a point per random or adversarial instance, its "
    "entry closest to the bound, and outlined a point per group of the medical data (mean of shuffles, predictions "
    "clipped). Bottom: the aggregator's part and the whole regret of one group, mean and 95 % interval over shuffles, "
    "below their live certificates: AdaNormalHedge's grows, by √T at worst, the Aggregating Algorithm's is a constant. "
    "Bars: the largest measured/bound of every theorem over all rounds; red: the data sets."
)

_IDS = {
    "T1  ANH in the group learner": "t1_group_learner", "T1  ANH, confidence-rated": "t1_confidence_rated",
    "T1  ANH, mixtures of experts": "t1_mixtures", "T2  ridge experts": "t2_ridge", "T2  VAW experts": "t2_vaw",
    "T3  group regret, ANH": "t3_anh", "T4  specialist AA": "t4_aa", "T4  specialist EWA": "t4_ewa",
    "T2+T4  group regret, AA": "t24_aa", "T2+T4  group regret, EWA": "t24_ewa",
    "T6  Blum–Lykouris": "t6_blum_lykouris", "T6  multiplicative weights": "t6_multiplicative_weights",
}  # fmt: skip


def _data(runs):
    return {run.config.experiment.rpartition(".")[2]: run for run in runs[1:]}


def draw(runs):
    instances, data = runs[0], _data(runs)
    medical = {"medical": data["medical"]}
    fig, axes = style.figure("text", 0.72, 2, 3)
    for ax, part in zip(axes[0], panels.CLOUDS, strict=True):
        panels.scatter_panel(ax, part, instances, medical)
    axes[0, 0].set_ylabel("bound (squared loss)")
    for ax, part in zip(axes[1], ("meta", "total"), strict=False):
        panels.curves_panel(ax, data["medical"], part)
    axes[1, 0].legend(fontsize=5.5, loc="upper left", labelspacing=0.25)
    shuffles = data["medical"].config.run.replicates
    axes[1, 0].set_title(f"medical: meta part ({shuffles} shuffles)")
    axes[1, 1].set_title(f"medical: regret ({shuffles} shuffles)")
    axes[1, 0].set_ylabel("regret (squared loss)")
    panels.ratio_panel(axes[1, 2], instances, data)
    return fig


def claims(runs):
    """Of the instances; those of the data sets are claimed by the figures of the data sets."""
    instances = runs[0]
    count = instances.config.run.replicates
    return {
        _IDS[name]: without_interval(panels.instance_ratio(instances, metrics), count)
        for name, metrics in panels.THEOREMS.items()
    }
