"""Loss, regret and time against the number of groups: medical costs, and a law with 1,024 intersectional groups."""

from experiments.lib import style
from experiments.lib.tables import measured, without_interval
from experiments.regret import panels_groups as panels

CONFIGS = ["configs/regret/groups.py", "configs/regret/groups.py:coded_law"]
PAPER_CONFIGS = [
    "configs/regret/paper_groups.py", "configs/regret/paper_groups.py:coded_law",
    "configs/regret/paper_groups.py:adult",
]  # fmt: skip

caption = (
    "More groups: nested families of conjunctions of attribute values. Left: squared loss of everybody, mean and 95 % "
    "interval over n shuffles; the paper's rule pays for every group it does not need, the Aggregating Algorithm "
    "hardly. Middle: regret against the expert of everybody (solid) below its bound (dashed): T1 for AdaNormalHedge, "
    "ln(1/q)/2 for the Aggregating Algorithm. Right: wall time per round after compilation, the fastest lap: all "
    "experts together, and each aggregator alone."
)

_PUBLISHED_SIZE = 57


def draw(runs):
    fig, axes = style.figure("text", 0.38 * len(runs) + 0.06, len(runs), 3)
    for line, run in zip(axes, runs, strict=True):
        panels.row(line, run)
    panels.legend(fig, axes.flat)
    return fig


def claims(runs):
    medical = runs[0]
    place = list(panels.sizes(medical)).index(_PUBLISHED_SIZE)
    found = {}
    for method in ("anh", "anh_mean", "aa"):
        first = panels.at(medical, "loss", method)[place, 0]  # the paper's first shuffle, seed 473
        found[f"medical_57_{method}"] = without_interval(first)
    for run in runs:
        name, last = run.config.problem.data_set, len(panels.sizes(run)) - 1
        growth = {m: panels.at(run, "loss", m)[last] - panels.at(run, "loss", m)[0] for m in ("anh_mean", "aa")}
        found[f"{name}_growth"] = measured(growth["aa"] - growth["anh_mean"])
        for theorem in ("T1", "T4"):
            ratio = panels.worst_ratio(run, theorem)
            found[f"{name}_{theorem.lower()}"] = without_interval(ratio, run.config.run.replicates)
    return found
