"""Drawings of dual gaps against sweeps and against time."""

import numpy as np

from experiments.balancing import panels_rules
from experiments.balancing.gap import methods
from experiments.lib import style
from experiments.lib.tables import Measured, Table, without_interval

__all__ = [
    "agreement",
    "course_panel",
    "faster_than_program",
    "quick_look",
    "sinkhorn_left",
    "sweeps",
    "table",
    "time_panel",
]

_QUANTILE = style.Look("quantile dual", style.PALETTE["black"], "-", "*")
_SINKHORN = ("grey", "orange", "purple")
_TARGETS = (1e-3, 1e-5)
#: Gaps below this are rounding of the optimum's own computation.
_ROUNDING = 1e-12


def _exact(value, run) -> Measured:
    return without_interval(value, run.config.run.replicates)


def sweeps(run, name: str, target: float) -> Measured:
    """After how many sweeps the gap of a row, or of "quantile", is at most the target and stays there; of the slowest
    instance; one more than the run has where it never does."""
    return _exact(
        min(_reached(run.curves["step"], run.curves[f"gap/{name}"], target), len(run.curves["step"]) + 1), run
    )


def agreement(run) -> Measured:
    """Largest relative difference between the optimum by sweeps and that of the linear program."""
    return _exact(np.abs(run.results["optimum"] / run.results["program"] - 1).max(), run)


def faster_than_program(run) -> Measured:
    """Time of the linear program over that of the quantile dual's sweeps to a gap of 1e-5."""
    time = dict(zip(methods(run.config), run.results["milliseconds"], strict=True))
    return _exact(time["linear program"] / (time["quantile"] * sweeps(run, "quantile", 1e-5).value), run)


def sinkhorn_left(run, at: int = 1) -> Measured:
    """Largest gap of Sinkhorn's column potentials after all alternations, at the higher temperature."""
    return _exact(run.results["sinkhorn"][at, -1].max(), run)


def _reached(steps, gap, target: float) -> float:
    """Sweeps after which the gap of the slowest instance is at most the target for good; infinite for never."""
    over = (gap > target).any(axis=1)
    if over[-1]:
        return np.inf
    return float(steps[len(over) - np.argmax(over[::-1])] if over.any() else steps[0])


def table(run) -> Table:
    """Sweeps and time of every method to relative gaps of 1e-3 and 1e-5, of the slowest instance."""
    times = dict(zip(methods(run.config), run.results["milliseconds"], strict=True))
    rows = []
    for steps, gap, how, method in _curves(run):
        reached = [_reached(steps, gap, target) for target in _TARGETS]
        rows.append((how.label, *reached, float(times[method]), *(count * times[method] for count in reached)))
    whole = float(times["linear program"])
    rows.append(("linear program", float("nan"), float("nan"), float("nan"), whole, whole))
    header = ("method", "sweeps to 1e-3", "to 1e-5", "ms / sweep", "ms to 1e-3", "to 1e-5 ")
    return Table(header, tuple(rows), digits=2)


def _curves(run):
    """Sweeps, gaps `[points, R]`, look, and whose time a sweep takes."""
    seen = set()
    for _, row in panels_rules.places(run):
        how = panels_rules.look(row)
        color = style.PALETTE["yellow"] if how.label in seen else how.color
        seen.add(how.label)
        how = how._replace(label=panels_rules.label(run, row, "/µ"), color=color)
        yield run.curves["step"], run.curves[f"gap/{row}"], how, "bias update"
    yield run.curves["step"], run.curves["gap/quantile"], _QUANTILE, "quantile"
    for at, heat in enumerate(run.config.algo.temperatures):
        how = style.Look(f"Sinkhorn, temperature {heat:g}", style.PALETTE[_SINKHORN[at]], (0, (1, 1)), "x")
        yield run.results["counts"], run.results["sinkhorn"][at], how, "Sinkhorn"


def _draw(ax, run, times) -> None:
    for steps, gap, how, method in _curves(run):
        x = steps * (times[method] if times else 1.0)
        # Gaps shrink by orders of magnitude: their geometric mean, and no interval where they end in rounding.
        ax.plot(x, np.exp(np.log(np.maximum(gap, _ROUNDING)).mean(axis=1)), color=how.color, linestyle=how.linestyle,
                label=how.label)  # fmt: skip
    ax.set(xscale="log", yscale="log", ylabel="relative dual gap")
    ax.set_ylim(bottom=_ROUNDING)
    ends = ax.get_xlim()
    for target in _TARGETS:
        ax.plot(
            ends, [target, target], color=style.LOOKS["bound"].color, linestyle="--", linewidth=0.6, label="_target"
        )
    ax.set_xlim(ends)


def course_panel(ax, run) -> None:
    """Gaps against sweeps; geometric means over instances, targets dashed."""
    _draw(ax, run, None)
    ax.set_xlabel("sweeps (routings of the batch)")


def time_panel(ax, run) -> None:
    """Gaps against time, at the milliseconds of a sweep, and the linear program's time."""
    times = dict(zip(methods(run.config), run.results["milliseconds"], strict=True))
    _draw(ax, run, times)
    if np.isfinite(times["linear program"]):
        ax.set_xlim(right=2 * times["linear program"])
        ax.axvline(times["linear program"], color="k", linewidth=0.8, linestyle=":")
        ax.annotate("linear program", (times["linear program"], 1e-9), xytext=(-3, 0), textcoords="offset points",
                    rotation=90, ha="right", fontsize=6)  # fmt: skip
    ax.set_xlabel("milliseconds")


def quick_look(run) -> None:
    """Gaps against sweeps, into the run directory."""
    fig, ax = style.figure("column", 0.9)
    course_panel(ax, run)
    ax.legend(fontsize=6)
    style.save(style.stamp(fig, [run]), run.figure("gap"))
