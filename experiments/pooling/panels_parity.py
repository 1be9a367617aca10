"""Drawings of aggregations beyond the sizes that they were trained on."""

import numpy as np

from experiments.lib import style
from experiments.lib.tables import Measured, measured, without_interval

__all__ = [
    "TASKS", "accuracy", "accuracy_panel", "far", "flips_panel", "largest_mean", "least", "margin", "measured",
    "proved", "quick_look",
]  # fmt: skip

TASKS = ("parity", "second minimum")

_P = style.PALETTE
_LOOKS = {
    "sum": style.Look("sum", _P["grey"], "-", "o"),
    "mean": style.Look("mean", _P["grey"], (0, (5, 1)), "s"),
    "max": style.Look("max", _P["grey"], (0, (1, 1)), "D"),
    "GRU": style.Look("GRU in a row", _P["orange"], "-", "v"),
    "LCM": style.Look("LCM", _P["vermilion"], "-", "^"),
    "conjugated sum": style.Look("conjugated sum", _P["purple"], (0, (3, 1, 1, 1)), "P"),
    "tables": style.Look("tables", _P["sky"], (0, (5, 1)), "<"),
    "tropical": style.Look("tropical", _P["green"], (0, (3, 2)), ">"),
    "tables and tropical": style.Look("tables and tropical", _P["blue"], "-", "*"),
}


def _methods(run) -> tuple[str, ...]:
    return run.axes["method"]


def accuracy(run, task: str, method: str, size: int | None = None) -> np.ndarray:
    """Share of right answers at the largest of the common sizes, or at another one of them, `[R]`."""
    sizes = list(run.config.run.sizes)
    at = sizes.index(size or max(sizes))
    return run.results["accuracy"][TASKS.index(task), _methods(run).index(method), at].astype(np.float64)


def far(run, task: str, method: str) -> np.ndarray:
    """The same at `run.far` elements, `[R]`."""
    return run.results["far"][TASKS.index(task), _methods(run).index(method)].astype(np.float64)


def least(values) -> Measured:
    """The smallest over seeds."""
    return without_interval(np.min(values), np.size(values))


def largest_mean(run, task: str, methods) -> Measured:
    """Accuracy over seeds of the best of some methods."""
    return max((measured(accuracy(run, task, method)) for method in methods), key=lambda found: found.value)


def proved(run, task: str) -> Measured:
    """Tables proved to be commutative monoids on what they reach, two states at least; the fewest over seeds."""
    at = TASKS.index(task)
    sound = (run.results["defects"][at] == 0) & (run.results["reached"][at] > 1)
    return least(sound.sum(axis=0))


def margin(run, task: str, method: str, other: str) -> Measured:
    """Accuracy less that of another method, mean over all sizes beyond the training sizes, over seeds."""
    beyond = [size for size in run.config.run.sizes if size > run.config.problem.largest]
    gaps = [accuracy(run, task, method, size) - accuracy(run, task, other, size) for size in beyond]
    return measured(np.mean(gaps, axis=0))


def accuracy_panel(ax, run, task: str) -> None:
    """Share of right answers by size of the set: mean over seeds, bars from least to largest; grey, training."""
    sizes, beyond = np.asarray(run.config.run.sizes), run.config.run.far
    for method in _methods(run):
        look = _LOOKS[method]
        values = run.results["accuracy"][TASKS.index(task), _methods(run).index(method)]
        x, last = sizes, far(run, task, method)
        if np.isfinite(last).all():
            x, values = np.append(sizes, beyond), np.concatenate([values, last[None]])
        mean = values.mean(axis=1)
        ax.plot(x, mean, look.marker, color=look.color, linestyle=look.linestyle, label=look.label, markersize=3,
                linewidth=1.0)  # fmt: skip
        ax.vlines(x, values.min(axis=1), values.max(axis=1), color=look.color, linewidth=0.8)
    ax.axvspan(sizes.min() / 1.4, run.config.problem.largest, color="0.9", linewidth=0)
    ax.set_xscale("log", base=2)
    style.plain_ticks(ax.xaxis, [*sizes[::2], *([beyond] if beyond > sizes.max() else [])])
    ax.set_ylim(0, 1.05)
    ax.set_xlabel("elements")
    ax.set_title(task)


def flips_panel(ax, run) -> None:
    """Share of answers that another order changes, by method, at the largest common size; mean over seeds."""
    for at in range(len(_methods(run))):
        for task, shift, marker, color in zip(TASKS, (-0.15, 0.15), "os", ("blue", "vermilion"), strict=True):
            value = run.results["flips"][TASKS.index(task), at, -1].mean()
            label = task if at == 0 else "_nolegend_"
            ax.plot([value], [at + shift], marker, color=_P[color], markersize=3, label=label)
    ax.set_yticks(range(len(_methods(run))), [_LOOKS[method].label for method in _methods(run)], fontsize=6)
    ax.set_ylim(len(_methods(run)) - 0.5, -0.5)
    ax.set_xlim(-0.02, None)
    ax.set_xlabel("answers changed")
    ax.set_title(f"other order, {max(run.config.run.sizes)} elements")
    ax.legend(fontsize=6, loc="upper right")


def quick_look(run) -> None:
    """Both tasks and the flips, into the run directory."""
    fig, axes = style.figure("text", 0.42, 1, 3)
    for ax, task in zip(axes[0], TASKS, strict=False):
        accuracy_panel(ax, run, task)
    axes[0, 0].set_ylabel("accuracy")
    axes[0, 0].legend(fontsize=5)
    flips_panel(axes[0, 2], run)
    style.save(style.stamp(fig, [run]), run.figure("parity"))
