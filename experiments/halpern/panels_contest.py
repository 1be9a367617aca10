"""Drawings of races on the epoch axis: residual curves by method, and what was reached at a budget."""

import numpy as np

from experiments.halpern import panels_looks as looks
from experiments.lib import style
from experiments.lib.tables import Measured, measured

__all__ = [
    "CASES", "curves_panel", "epoch_axis", "legend_below", "log_reached", "methods", "quick_look", "reached",
    "residuals", "seeds", "winners",
]  # fmt: skip

#: Order in legends.
_ORDER = ("eg", "eag", "feg", "forb", "vr_eg", "page", "alg2", "reflected", "restarted", "certified")

#: What the cases of `games` are called.
CASES = {
    "bilinear": "bilinear, no constraints", "rank5": "game of rank 5", "policeman": "policeman and burglar, rows",
    "nemirovski": "Nemirovski, kind 2", "uniform": "uniform entries",
}  # fmt: skip


def methods(run) -> list[str]:
    """Methods of a run, in the order of legends."""
    return [name for name in _ORDER if f"residual/{name}" in run.curves]


def residuals(run, name: str, case: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Epochs spent `[points]`, a mean over seeds, and residuals `[points, R]`."""
    return run.curves[f"epochs/{name}"][..., case].mean(axis=1), run.curves[f"residual/{name}"][..., case]


def reached(run, name: str, epochs: float, case: int = 0, budgets=None) -> Measured | None:
    """The geometric mean over seeds of the residual at a budget, with the interval of the mean logarithm; None where
    the run has no such point."""
    at = np.flatnonzero(np.isclose(run.config.problem.epochs if budgets is None else budgets, epochs))
    if not at.size or name not in methods(run):
        return None
    values = run.curves[f"residual/{name}"][at[0], :, case].astype(np.float64)
    if np.ptp(values) == 0:  # nothing is drawn by a deterministic method
        return Measured(float(values[0]), float(values[0]), float(values[0]), len(values))
    return Measured(*(float(np.exp(end)) for end in measured(np.log(values))[:3]), len(values))


def log_reached(run, name: str, case: int) -> Measured:
    """log10 of the residual at the end: mean over seeds and Student's interval."""
    values = np.log10(residuals(run, name, case)[1][-1].astype(np.float64))
    if np.ptp(values) == 0:
        return Measured(float(values[0]), float(values[0]), float(values[0]), len(values))
    return measured(values)


def winners(run) -> np.ndarray:
    """1 for every case where a method with variance reduction is in front at the end, by geometric means; else 0."""
    best = []
    for case in range(len(run.axes["case"])):
        ends = {name: np.log(residuals(run, name, case)[1][-1]).mean() for name in methods(run)}
        sampled = min(ends[name] for name in ends if name in ("vr_eg", "page", "alg2", "restarted"))
        best.append(sampled < min(ends[name] for name in ends if name in ("eg", "eag", "feg", "forb")))
    return np.asarray(best, np.float64)


def curves_panel(ax, run, names=None, case: int = 0) -> None:
    """Geometric mean over seeds, with the interval of the mean logarithm; single seeds faintly."""
    for name in methods(run) if names is None else names:
        how = looks.METHODS[name]
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


def seeds(ax, run, name: str, case: int = 0) -> None:
    """Every seed of a method by itself, thin."""
    epochs, found = residuals(run, name, case)
    ax.plot(epochs, found, color=looks.METHODS[name].color, linewidth=0.4, label="_nolegend_")


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
