"""Drawings of learned norms: where (p, q) go, and what they and DeepSets make of larger sets of larger numbers."""

import numpy as np

from experiments.lib import style
from experiments.lib.tables import Measured, measured

__all__ = ["error", "error_panel", "exponent", "path_panel", "quick_look", "sets_error", "sets_panel"]

_HUES = ("vermilion", "blue", "green", "orange", "purple", "sky", "grey")


def _last(run, name: str, axis: str, label: str) -> np.ndarray:
    return run.curves[name][-1, :, run.axes[axis].index(label)].astype(np.float64)


def error(run, law: str) -> Measured:
    """Relative error of the fitted norm on the far sets."""
    return measured(_last(run, "error", "law", law))


def exponent(run, name: str, law: str) -> Measured:
    """p or q after the last step."""
    return measured(_last(run, name, "law", law))


def sets_error(run, pool: str, target: str) -> Measured:
    """Relative error of DeepSets with this pool on the far sets."""
    return measured(_last(run, "sets", "pair", f"{pool} for {target}"))


def path_panel(ax, run) -> None:
    """(p, q) of the first replicate from start to end (dot), and the law's own (cross) where it lies in the panel."""
    from research.pooling import gnp

    for law, hue in zip(run.axes["law"], _HUES, strict=True):
        at, color = run.axes["law"].index(law), style.PALETTE[hue]
        p, q = run.curves["p"][:, 0, at], run.curves["q"][:, 0, at]
        ax.plot(p, q, color=color, linewidth=1.0, label=law)
        ax.plot(p[-1:], q[-1:], "o", color=color, markersize=3, label="_nolegend_")
        exact = gnp.law(law)
        if abs(exact[0]) < 10:
            ax.plot(*[[value] for value in exact], "x", color=color, markersize=6, label="_nolegend_")
    ax.set(xlabel="p", ylabel="q")


def error_panel(ax, run) -> None:
    """Relative error of the fitted norms on the far sets, against steps."""
    for at, (law, hue) in enumerate(zip(run.axes["law"], _HUES, strict=True)):
        look = style.Look(law, style.PALETTE[hue])
        style.curve(ax, run.curves["step"], run.curves["error"][..., at], look, count=False)
    ax.set(xlabel="steps", ylabel=f"relative error at n = {run.config.problem.far}, values × 2", yscale="log")


def sets_panel(ax, run) -> None:
    """The same of DeepSets: a row per pool, a column per target."""
    pairs = [pair.split(" for ") for pair in run.axes["pair"]]
    pools = list(dict.fromkeys(pool for pool, _ in pairs))
    for at, target in enumerate(dict.fromkeys(target for _, target in pairs)):
        values = [sets_error(run, pool, target) for pool in pools]
        x = np.arange(len(pools)) + 0.25 * (at - 1)
        ax.bar(x, [value.value for value in values], 0.22, color=style.PALETTE[_HUES[at]], label=f"target {target}")
    ax.set_xticks(np.arange(len(pools)), [f"{pool} pool" for pool in pools])
    ax.set(yscale="log", ylabel="relative error of DeepSets")
    ax.set_ylim(None, 50 * ax.get_ylim()[1])  # room for the legend
    ax.legend(fontsize=6)


def quick_look(run) -> None:
    """All panels, into the run directory."""
    fig, axes = style.figure("text", 0.36, 1, 3)
    path_panel(axes[0, 0], run)
    error_panel(axes[0, 1], run)
    sets_panel(axes[0, 2], run)
    axes[0, 0].legend(fontsize=5)
    style.save(style.stamp(fig, [run]), run.figure("law"))
