"""Drawings of races on the epoch axis: residual curves by method, and what was reached at a budget."""

import numpy as np

from experiments.lib import style
from experiments.lib.tables import Measured, measured

__all__ = [
    "CASES", "LOOKS", "curves_panel", "epoch_axis", "legend_below", "methods", "quick_look", "residuals", "reached",
    "status",
]  # fmt: skip

_HUES = style.PALETTE

#: Methods without variance reduction are dashed.
LOOKS = {
    "eg": style.Look("EG", _HUES["black"], (0, (5, 1)), "s"),
    "eag": style.Look("EAG", _HUES["grey"], (0, (5, 1)), "D"),
    "feg": style.Look("FEG", _HUES["green"], (0, (5, 1)), "P"),
    "forb": style.Look("FoRB", _HUES["green"], (0, (5, 1)), "v"),
    "vr_eg": style.Look("VR-EG", _HUES["orange"], "-", "^"),
    "page": style.Look("Algorithm 1", _HUES["purple"], "-", "X"),
    "alg2": style.Look("Algorithm 2", _HUES["sky"], "-", "o"),
    "reflected": style.Look("Algorithm 2, reflected", _HUES["blue"], (0, (3, 1, 1, 1)), "h"),
    "restarted": style.Look("Algorithm 2, restarts", _HUES["vermilion"], "-", "*"),
    "certified": style.Look("Algorithm 2, certified", _HUES["yellow"], "-", "p"),
}  # fmt: skip

#: What the cases of `games` are called.
CASES = {
    "bilinear": "bilinear, no constraints", "rank5": "game of rank 5", "policeman": "policeman and burglar, rows",
    "nemirovski": "Nemirovski, kind 2", "uniform": "uniform entries",
}  # fmt: skip


def methods(run) -> list[str]:
    """Methods of a run in the order of `LOOKS`."""
    return [name for name in LOOKS if f"residual/{name}" in run.curves]


def residuals(run, name: str, case: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Epochs spent `[points]`, a mean over seeds, and residuals `[points, R]`."""
    return run.curves[f"epochs/{name}"][..., case].mean(axis=1), run.curves[f"residual/{name}"][..., case]


def reached(run, name: str, epochs: float, case: int = 0, budgets=None) -> Measured | None:
    """The geometric mean over seeds of the residual at a budget, with the interval of the mean logarithm; None where the
    run stops before, or has no such point."""
    at = np.flatnonzero(np.isclose(run.config.problem.epochs if budgets is None else budgets, epochs))
    if not at.size or name not in methods(run):
        return None
    values = run.curves[f"residual/{name}"][at[0], :, case].astype(np.float64)
    if np.ptp(values) == 0:  # nothing is drawn by a deterministic method
        return Measured(float(values[0]), float(values[0]), float(values[0]), len(values))
    return Measured(*(float(np.exp(end)) for end in measured(np.log(values))[:3]), len(values))


def status(run, name: str, case: int = 0) -> np.ndarray:
    """Of every seed at the end."""
    return run.curves[f"status/{name}"][-1, :, case]


def curves_panel(ax, run, names=None, case: int = 0) -> None:
    """Geometric mean over seeds, with the interval of the mean logarithm; single seeds faintly."""
    for name in methods(run) if names is None else names:
        how = LOOKS[name]
        epochs, found = residuals(run, name, case)
        random = bool((np.ptp(found, axis=1) > 0).any())
        label = f"{how.label} (n = {found.shape[1]})" if random else how.label
        logs = [measured(np.log(row)) for row in found.astype(np.float64)]
        ax.plot(
            epochs, np.exp([one.value for one in logs]), color=how.color, linestyle=how.linestyle, marker=how.marker,
            markersize=3, markevery=max(1, len(epochs) // 6), label=label,
        )  # fmt: skip
        if random and found.shape[1] > 1:
            low, high = (np.exp([getattr(one, end) for one in logs]) for end in ("low", "high"))
            ax.fill_between(epochs, low, high, color=how.color, alpha=0.2, linewidth=0)
    ax.set_yscale("log")


def epoch_axis(ax, quantity: str = "natural residual", *, log: bool = True) -> None:
    """Names the axes."""
    if log:
        ax.set_xscale("log")
    ax.set_xlabel("epochs (oracle calls / n)")
    ax.set_ylabel(quantity)


def legend_below(fig, axes, ncols: int = 4) -> None:
    """One legend of all panels."""
    found = {}
    for ax in axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    fig.legend(list(found.values()), list(found), loc="outside lower center", ncols=ncols, fontsize=6)


def quick_look(run, name: str) -> None:
    """Every case in a panel, into the run directory."""
    cases = run.axes["case"]
    fig, axes = style.figure("text", 0.45 if len(cases) < 3 else 0.7, -(-len(cases) // 3), min(3, len(cases)))
    flat = np.asarray(axes).reshape(-1)
    for place, (ax, label) in enumerate(zip(flat, cases, strict=False)):
        curves_panel(ax, run, case=place)
        epoch_axis(ax, log=len(cases) == 1)
        ax.set_title(label)
    for ax in flat[len(cases) :]:
        ax.set_visible(False)
    legend_below(fig, flat)
    style.save(style.stamp(fig, [run]), run.figure(name))
