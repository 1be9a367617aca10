"""Drifting orders: cumulative loss of everybody when whole groups come one after the other."""

from experiments.lib import style
from experiments.lib.tables import measured
from experiments.regret import panels
from experiments.regret import panels_numbers as numbers

_ARGUMENTS = ("", ":min", ":max", ":dperm", ":adult", ":adult_descending")
CONFIGS = [f"configs/regret/sorted.py{argument}" for argument in _ARGUMENTS]
PAPER_CONFIGS = [f"configs/regret/paper_sorted.py{argument}" for argument in _ARGUMENTS]

caption = (
    "Cumulative loss of everybody in drifting orders: the synthetic law sorted by color (all red rounds first, then "
    "all green), and UCI Adult sorted by age. After the change one online ridge has to unlearn; the group learners "
    "switch to the experts of the groups that now come. Dashed and dotted: what the theorems allow the clipped methods."
)


def name_of(run) -> str:
    """What the run is called in titles and claims."""
    problem = run.config.problem
    if problem.data_set == "synthetic":
        return problem.label
    return "adult_descending" if problem.descending else "adult"


TITLES = {"adult": "UCI Adult by age, youngest first", "adult_descending": "UCI Adult by age, oldest first"}


def draw(runs):
    fig, axes = style.figure("text", 0.73, 2, 3)
    for ax, run in zip(axes.flat, runs, strict=True):
        relative = run.config.problem.data_set == "adult"  # there the methods differ by a fiftieth of their loss
        panels.drift_panel(ax, run, panels.phases(run), relative=relative)
        ax.set_title(TITLES.get(name_of(run), f"synthetic by color, label {name_of(run)}"))
        ax.set_ylabel("loss minus that of one ridge" if relative else "cumulative squared loss")
    panels.legend(fig, axes[0, 0], runs[0])
    return fig


def claims(runs):
    found = numbers.bound_claims(runs)
    for run in runs:
        name = name_of(run)
        loss = {method: numbers.final_loss(run, method)[:, -1] for method in ("baseline", "anh")}
        found[f"{name}/ratio"] = measured(loss["anh"] / loss["baseline"])
        if run.config.problem.data_set == "synthetic":
            found |= {f"{name}/{method}": measured(values) for method, values in loss.items()}
    return found
