"""Drawings of the applications: estimates beside their references, what one percent costs, variances of levels."""

import numpy as np

from experiments.lib import style
from experiments.lib.tables import Measured, without_interval
from experiments.mlmc.panels_looks import METHODS

__all__ = [
    "cases_of", "cost_panel", "estimate", "estimates_panel", "excess_of_rule", "leaves_for", "levels_panel",
    "multilevel_error", "name", "percent", "quick_look", "rate", "replicate_variance", "score", "work",
]  # fmt: skip

NAMES = {
    "put": "put, 1 asset", "geometric": "put, geometric mean of 5", "basket": "put, mean of 5",
    "hundred": "put, mean of 100", "options": "EVPPI, 4 options", "health": "EVPPI, 19 parameters",
    "credit": "CVA of a forward", "gain": "information gain", "loss": "probability of loss",
}  # fmt: skip
_RULE = style.Look("rule by regression", style.PALETTE["vermilion"], "-", "s")


def name(case: str) -> str:
    """A case in a few words."""
    return NAMES[case]


def cases_of(run) -> list[str]:
    """Cases of a run, in the order of `NAMES`."""
    return [case for case in NAMES if case in run.config.cases]


def estimate(run, case: str) -> tuple[float, float, int]:
    """The mean of all blocks, its standard error from their spread, and how many there are."""
    means = run.curves[f"mean/{case}"].ravel()
    return float(means.mean()), float(means.std(ddof=1) / np.sqrt(means.size)), means.size


def _replicates(run, case):
    return run.curves[f"mean/{case}"].size * run.config.cases[case].block * run.config.run.chunk


def replicate_variance(run, case: str) -> float:
    """Of one replicate of READ, from all of them."""
    means = run.curves[f"mean/{case}"]
    size = run.config.cases[case].block * run.config.run.chunk
    return float(
        (run.curves[f"deviation/{case}"].sum() + size * ((means - means.mean()) ** 2).sum()) / means.size / size
    )


def leaves_for(run, case: str) -> float:
    """Leaves of a replicate, in the mean."""
    return float(run.curves[f"leaves/{case}"].sum() / _replicates(run, case))


def work(run, case: str) -> float:
    """Work-normalised variance: of a replicate, times its leaves."""
    return replicate_variance(run, case) * leaves_for(run, case)


def percent(run, case: str) -> float:
    """Leaves for a relative standard error of one percent."""
    return work(run, case) / (0.01 * estimate(run, case)[0]) ** 2


def _reference(run, case):
    """The exact value; where there is none, that of the rule, which is a lower bound."""
    exact = float(run.results[f"exact/{case}"])
    return exact if np.isfinite(exact) else float(run.results[f"rule/{case}"][0])


def score(run, case: str) -> Measured | None:
    """|estimate - exact| in standard errors; None where nobody knows the exact value."""
    exact = float(run.results[f"exact/{case}"])
    value, error, count = estimate(run, case)
    return without_interval(abs(value - exact) / error, count) if np.isfinite(exact) else None


def excess_of_rule(run, case: str) -> Measured:
    """What the rule by regression is worth beyond the exact value, or READ's where there is none, in standard errors
    of the difference: at most zero but for chance."""
    value, error = run.results[f"rule/{case}"]
    exact = float(run.results[f"exact/{case}"])
    if not np.isfinite(exact):
        exact, other, _ = estimate(run, case)
        error = np.hypot(error, other)
    return without_interval((value - exact) / error)


def multilevel_error(run, case: str) -> Measured:
    """Root mean squared error of multilevel Monte Carlo over the tolerance that was asked for."""
    values = run.results[f"multilevel/{case}"][:, 0]
    away = (values - float(run.results[f"exact/{case}"])) / run.config.levels[case].tolerance
    return without_interval(np.sqrt(np.mean(away**2)), len(values))


def rate(run, case: str) -> Measured:
    """beta, by which variances of levels fall: slope of log2 of their means over levels 1, 2, ..."""
    variances = run.results[f"variances/{case}"]
    levels = np.flatnonzero(variances > 0)[1:]
    slope = np.polyfit(levels, np.log2(variances[levels]), 1)[0]
    return without_interval(-slope, len(levels))


def estimates_panel(ax, run) -> None:
    """Estimates relative to their references with 95 % intervals, and rules by regression."""
    cases = cases_of(run)[::-1]
    for place, case in enumerate(cases):
        reference = _reference(run, case)
        points = {"read": estimate(run, case)[:2]}
        if f"rule/{case}" in run.results:
            points["rule"] = tuple(run.results[f"rule/{case}"])
        for kind, (value, error) in points.items():
            look, shift = (METHODS["read"], 0.14) if kind == "read" else (_RULE, -0.14)
            ax.errorbar(
                100 * (value / reference - 1), place + shift, xerr=196 * error / reference, color=look.color,
                marker=look.marker, markersize=3, linewidth=1, linestyle="none", label=look.label,
            )  # fmt: skip
    ax.axvline(0, color="0.45", linestyle="--", linewidth=0.8)
    ax.set_yticks(range(len(cases)), [name(case) for case in cases])
    ax.set_ylim(-0.6, len(cases) - 0.4)
    ax.set_xlabel("relative error, %")
    handles = dict(zip(*reversed(ax.get_legend_handles_labels()), strict=True))
    ax.legend(list(handles.values()), list(handles), fontsize=6, ncols=2, loc="lower center", bbox_to_anchor=(0.4, 1.0))


def cost_panel(ax, run) -> None:
    """Leaves of READ for one percent."""
    cases = cases_of(run)[::-1]
    ax.barh(range(len(cases)), [percent(run, case) for case in cases], 0.6, color=METHODS["read"].color, label="READ")
    ax.set_xscale("log")
    ax.set_yticks(range(len(cases)), [name(case) for case in cases])
    ax.set_ylim(-0.6, len(cases) - 0.4)
    ax.set_xlabel("leaves for an error of 1 %")


def levels_panel(ax, run) -> None:
    """Variances of the differences of levels where the link jumps, and the fitted rate."""
    for case in run.config.levels:
        variances = run.results[f"variances/{case}"]
        levels = np.flatnonzero(variances > 0)
        look = METHODS["multilevel"]
        ax.plot(
            levels[1:], variances[levels[1:]], color=look.color, marker=look.marker, markersize=4, linestyle="none",
            label=name(case),
        )  # fmt: skip
        fitted = rate(run, case).value
        middle = np.mean(np.log2(variances[levels[1:]])) + fitted * np.mean(levels[1:])
        style.reference(ax, levels[1:], 2.0 ** (middle - fitted * levels[1:]), f"rate {fitted:.2f}")
    ax.set_yscale("log", base=2)
    ax.set_xlabel("level")
    ax.set_ylabel("variance of the difference")
    ax.legend(fontsize=6)


def quick_look(run) -> None:
    """The estimates, into the run directory."""
    fig, ax = style.figure("text", 0.4)
    estimates_panel(ax, run)
    style.save(style.stamp(fig, [run]), run.figure("applications"))
