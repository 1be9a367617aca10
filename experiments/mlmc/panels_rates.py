"""Drawings of errors against cost, and fitted slopes."""

import numpy as np

from experiments.lib import style
from experiments.lib.tables import Measured
from experiments.mlmc import panels_looks as looks

__all__ = [
    "averaged_panel", "error_panel", "exact", "final", "quick_look", "read_errors", "running_panel", "scatter_panel",
    "slope", "slope_of",
]  # fmt: skip

#: Disjoint groups of replicates per repetition that a fitted point needs at least.
_GROUPS = 4


def exact(run) -> float:
    return float(run.results["exact"])


def read_errors(run) -> tuple[np.ndarray, np.ndarray]:
    """READ with 1, 2, 4, ... blocks: mean leaves `[point]`, and squared errors `[point, R]`, each the mean over all
    disjoint groups of so many blocks in the repetition.
    """
    means, leaves = run.curves["mean"], run.curves["leaves"]
    points, sizes = len(means), []
    while 2 ** len(sizes) * _GROUPS <= points:
        sizes.append(2 ** len(sizes))
    groups = [means[: points // k * k].reshape(points // k, k, -1).mean(axis=1) for k in sizes]
    return leaves.mean() * np.array(sizes), np.array([((g - exact(run)) ** 2).mean(axis=0) for g in groups])


def _errors(run, name):
    if name == "read":
        return read_errors(run)
    return run.results[f"{name}_leaves"], (run.results[name] - exact(run)) ** 2


def slope(leaves: np.ndarray, squares: np.ndarray) -> Measured:
    """Slope of log MSE over log cost; its interval is the jackknife's over repetitions.

    Args:
      leaves: `[point]`.
      squares: `[point, R]` squared errors.
    """
    from scipy import stats

    def fit(mean):
        return np.polyfit(np.log(leaves), np.log(mean), 1)[0]

    number = squares.shape[1]
    whole = fit(squares.mean(axis=1))
    without = np.array([fit(np.delete(squares, i, axis=1).mean(axis=1)) for i in range(number)])
    half = stats.t.ppf(0.975, number - 1) * np.sqrt((number - 1) / number * ((without - without.mean()) ** 2).sum())
    return Measured(float(whole), float(whole - half), float(whole + half), number)


def slope_of(run, name: str) -> Measured:
    """Of "read" or an allocation."""
    return slope(*_errors(run, name))


def final(run) -> Measured:
    """READ's estimates at the end of every repetition, less the exact value."""
    from experiments.lib.tables import measured

    return measured(run.curves["running"][-1] - exact(run))


def _fit_text(found: Measured) -> str:
    return f"{found.value:.2f} ± {(found.high - found.low) / 2:.2f}"


def error_panel(ax, run, names=("read", "equal", "square", "best")) -> None:
    """Mean squared error against leaves, with straight fits; the slopes are in the legend."""
    for name in names:
        if name != "read" and name not in run.results:
            continue
        leaves, squares = _errors(run, name)
        mean, how, found = squares.mean(axis=1), looks.METHODS[name], slope(leaves, squares)
        label = f"{how.label}: {_fit_text(found)}"
        ax.plot(leaves, mean, linestyle="", marker=how.marker, color=how.color, label=label, markersize=4)
        middle = np.exp(np.log(mean).mean() + found.value * (np.log(leaves) - np.log(leaves).mean()))
        ax.plot(leaves, middle, color=how.color, linestyle=how.linestyle, label="_fit")
    ax.set(xscale="log", yscale="log", xlabel="leaves", ylabel="mean squared error")
    ax.legend(fontsize=6, title="slope", title_fontsize=6, loc="upper center", bbox_to_anchor=(0.5, -0.24))


def averaged_panel(ax, run) -> None:
    """The square of the mean error of all repetitions, at one repetition's cost: what the published curve shows."""
    points = np.unique(np.geomspace(1, len(run.curves["running"]), 12).astype(int)) - 1
    leaves = run.curves["leaves"].mean() * (points + 1)
    value = (run.curves["running"][points].mean(axis=1) - exact(run)) ** 2
    how = looks.METHODS["averaged"]
    ax.plot(leaves, value, color=how.color, linestyle=how.linestyle, marker=how.marker, label=how.label)


def running_panel(ax, run, repetition: int = 0) -> None:
    """One repetition's running mean with 1.96 standard errors, and the exact value."""
    size = run.config.algo.block * run.config.run.chunk
    means, deviations = run.curves["mean"][:, repetition], run.curves["deviation"][:, repetition]
    blocks = np.arange(1, len(means) + 1)
    running = np.cumsum(means) / blocks
    second = np.cumsum(deviations + size * means**2) - size * blocks * running**2
    half = 1.96 * np.sqrt(second / (size * blocks)) / np.sqrt(size * blocks)
    how = looks.METHODS["read"]
    ax.plot(size * blocks, running, color=how.color, label=how.label)
    ax.fill_between(size * blocks, running - half, running + half, color=how.color, alpha=0.2, linewidth=0)
    style.reference(ax, [0, size * blocks[-1]], [exact(run)] * 2, "exact")
    ax.set(xlabel="replicates", ylabel="running mean", xlim=(0, size * blocks[-1]))
    spread = 6 * half[len(half) // 4]
    ax.set_ylim(exact(run) - spread, exact(run) + spread)
    ax.legend(fontsize=6)


def scatter_panel(ax, run, count: int = 12) -> None:
    """Estimates of all repetitions against their cost, and the exact value."""
    points = np.unique(np.geomspace(1, len(run.curves["running"]), count).astype(int)) - 1
    cost = np.cumsum(run.curves["leaves"], axis=0)[points]
    how = looks.METHODS["read"]
    ax.scatter(cost.reshape(-1), run.curves["running"][points].reshape(-1), s=3, color=how.color, label=how.label)
    style.reference(ax, [cost.min(), cost.max()], [exact(run)] * 2, "exact")
    ax.set(xscale="log", xlabel="leaves", ylabel="estimate")
    ax.legend(fontsize=6)


def quick_look(run) -> None:
    """Errors and a running mean, into the run directory."""
    fig, axes = style.figure("text", 0.45, 1, 2)
    error_panel(axes[0, 0], run)
    running_panel(axes[0, 1], run)
    style.save(style.stamp(fig, [run]), run.figure("rates"))
