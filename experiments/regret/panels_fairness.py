"""Drawings of the fairness experiment: accuracy against the parity gap, and both as the rounds go by."""

import numpy as np
from matplotlib.ticker import FuncFormatter, MultipleLocator

from experiments.lib import style
from experiments.lib.tables import Measured, measured

__all__ = ["at_strength", "legend", "quick_look", "rounds_panel", "strengths", "tradeoff_panel"]

_LABELS = {
    "aranyani": "Aranyani forest", "mlp": "network, same penalty", "reservoir": "forest, reservoir of past examples",
}  # fmt: skip
_LOOKS = {name: style.LOOKS[name]._replace(label=label) for name, label in _LABELS.items()}
#: Strengths whose course is drawn, and a line style for each.
_DRAWN = {"0": "-", "1": (0, (5, 1)), "10": ":"}


def strengths(run, learner: str) -> tuple[str, ...]:
    """The penalties of a learner, as text, in the order of its lanes."""
    return run.axes[f"fairness/{learner}"]


def _rounds(run) -> np.ndarray:
    """Rows seen at each logged step."""
    return np.minimum(run.curves["step"], run.config.problem.num_rows)


def at_strength(run, learner: str, strength: str) -> tuple[Measured, Measured]:
    """Accuracy and parity gap after all rounds, mean and 95 % interval over starts."""
    lane = strengths(run, learner).index(strength)
    accuracy, disparity = (run.curves[f"{name}/{learner}"][-1, :, lane] for name in ("accuracy", "disparity"))
    return measured(accuracy), measured(np.abs(disparity))


def tradeoff_panel(ax, run) -> None:
    """A point per strength of the penalty: further left is fairer, further up is more accurate."""
    results = run.results
    gap, accuracy = results["majority_gap"].mean(axis=0), results["majority_accuracy"].mean(axis=0)
    how = style.look("majority")
    ax.plot(
        gap,
        accuracy,
        color=how.color,
        linestyle="--",
        zorder=1,
        label="forest without penalty, mixed with the majority",
    )
    for learner, look in _LOOKS.items():
        points = [at_strength(run, learner, strength) for strength in strengths(run, learner)]
        y, x = (np.array([[p.value, p.value - p.low, p.high - p.value] for p in side]).T
                for side in zip(*points, strict=True))  # fmt: skip
        order = np.argsort(x[0])
        ax.plot(x[0][order], y[0][order], color=look.color, linewidth=0.8, alpha=0.5, zorder=2)
        ax.errorbar(
            x[0], y[0], xerr=np.abs(x[1:]), yerr=np.abs(y[1:]), color=look.color, marker=look.marker, markersize=3.5,
            linestyle="none", elinewidth=0.6, zorder=3, label=f"{look.label} (n = {points[0][0].n})",
        )  # fmt: skip
        if learner == "aranyani":
            _name_points(ax, x[0], y[0], strengths(run, learner))
    how = style.look("hoeffding_tree")
    ax.plot(
        results["hoeffding_gap"][-1], results["hoeffding_accuracy"][-1], color=how.color, marker=how.marker,
        markersize=5, linestyle="none", label="Hoeffding tree, no penalty (deterministic)", zorder=4,
    )  # fmt: skip
    ax.xaxis.set_major_locator(MultipleLocator(0.05))
    ax.set_xlabel("demographic-parity gap over all rounds")
    ax.set_ylabel("prequential accuracy")
    ax.set_xlim(left=0)


def _name_points(ax, x, y, names) -> None:
    """The strengths beside the points; one that would cover the last is left out."""
    last = None
    for i in np.argsort(x):
        if last is not None and abs(x[i] - last) < 0.012:
            continue
        last = x[i]
        ax.annotate(names[i], (x[i], y[i]), xytext=(4, -7), textcoords="offset points", fontsize=6,
                    color=_LOOKS["aranyani"].color)  # fmt: skip


def rounds_panel(ax, run, quantity: str) -> None:
    """`quantity` "accuracy" or "gap" of the forest and of the Hoeffding tree against the rounds."""
    x = _rounds(run)
    for strength, linestyle in _DRAWN.items():
        if strength not in strengths(run, "aranyani"):
            continue
        lane = strengths(run, "aranyani").index(strength)
        values = run.curves[f"{'accuracy' if quantity == 'accuracy' else 'disparity'}/aranyani"][..., lane]
        values = values if quantity == "accuracy" else np.abs(values)
        style.curve(
            ax, x, values, _LOOKS["aranyani"], label=f"Aranyani, penalty {strength}", linestyle=linestyle, count=True
        )
    how = style.look("hoeffding_tree")
    ax.plot(x, run.results[f"hoeffding_{quantity}"], color=how.color, linewidth=1.0, label="Hoeffding tree")
    ax.set_xlabel("rounds (thousands)")
    ax.set_xlim(0, x[-1])
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value / 1000:g}"))
    ax.set_ylabel("prequential accuracy" if quantity == "accuracy" else "parity gap so far")


def legend(ax, **where) -> None:
    """A small legend."""
    ax.legend(**({"fontsize": 6, "labelspacing": 0.3, "loc": "lower right"} | where))


def quick_look(run) -> None:
    """The trade-off, into the run directory."""
    fig, ax = style.figure("text", 0.55)
    tradeoff_panel(ax, run)
    legend(ax)
    style.stamp(fig, [run]).savefig(run.figure("tradeoff.png"))
