"""Drifting orders: what the two figures of sorted data share."""

from experiments.lib.tables import Measured, measured
from experiments.regret import panels
from experiments.regret import panels_numbers as numbers

__all__ = ["TITLES", "claims", "draw", "name_of"]

TITLES = {"adult": "UCI Adult by age, youngest first", "adult_descending": "UCI Adult by age, oldest first"}


def name_of(run) -> str:
    """What the run is called in titles and claims."""
    problem = run.config.problem
    if problem.data_set == "synthetic":
        return problem.label
    return "adult_descending" if problem.descending else "adult"


def draw(fig, axes, runs) -> None:
    """One panel per run, and the legend of all."""
    for ax, run in zip(axes.flat, runs, strict=True):
        relative = run.config.problem.data_set == "adult"  # there the methods differ by a fiftieth of their loss
        panels.drift_panel(ax, run, panels.phases(run), relative=relative)
        ax.set_title(TITLES.get(name_of(run), f"synthetic by color, label {name_of(run)}"))
        ax.set_ylabel("loss minus that of one ridge" if relative else "cumulative squared loss")
    panels.legend(fig, axes.flat[0], runs[0])


def claims(runs) -> dict[str, Measured]:
    """Bounds, losses of everybody by the paper's two methods, and their ratio."""
    found = numbers.bound_claims(runs)
    for run in runs:
        name = name_of(run)
        loss = {method: numbers.final_loss(run, method)[:, -1] for method in ("baseline", "anh")}
        found[f"{name}/ratio"] = measured(loss["anh"] / loss["baseline"])
        if run.config.problem.data_set == "synthetic":
            found |= {f"{name}/{method}": measured(values) for method, values in loss.items()}
    return found
