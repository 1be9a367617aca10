"""Drawings of work-normalised variances: curves over r at one nesting, maps over (r_0, r_1) at two."""

import numpy as np

from experiments.lib import style
from experiments.lib.tables import Measured, measured, without_interval
from experiments.mlmc import panels_looks as looks

__all__ = [
    "best", "curves_panel", "deviation", "gain", "largest_z", "luck", "map_panel", "quick_look", "work",
]  # fmt: skip


def _rates(run, method: str) -> np.ndarray:
    """`[cell, D]`."""
    return run.results["nets" if method == "sobol" else "rates"]


def _expected_leaves(run, method: str = "single") -> np.ndarray:
    """Of every cell, exactly."""
    from research.mlmc import bounds

    return np.array([bounds.expected_leaves(tuple(cell), tuple(run.config.algo.b)) for cell in _rates(run, method)])


def work(run, method: str) -> np.ndarray:
    """Variance times expected leaves, `[cell, R]`."""
    return run.curves[f"variance/{method}"] * _expected_leaves(run, method)[:, None]


def deviation(run, method: str) -> np.ndarray:
    """Standard deviation of a replicate, `[cell]`."""
    return np.sqrt(run.curves[f"variance/{method}"].mean(axis=1))


def luck(run) -> Measured:
    """Least standard deviation of the cells with infinite variance over the least of the others."""
    inside, found = int(run.results["inside"]), deviation(run, "single")
    return without_interval(found[inside:].min() / found[:inside].min(), run.config.run.replicates)


def best(run, method: str) -> tuple[int, Measured]:
    """The cell of the least mean work-normalised variance, and that with its interval over replicates."""
    found = work(run, method)[: int(run.results["inside"])]
    cell = int(np.argmin(found.mean(axis=1)))
    return cell, measured(found[cell])


def gain(run, method: str) -> Measured:
    """Least work-normalised variance of the single term over that of the method, each at its own best r."""
    one, other = work(run, "single")[best(run, "single")[0]], work(run, method)[best(run, method)[0]]
    return measured(one / other)


def largest_z(run) -> Measured:
    """Largest |mean - exact| in standard errors, over cells and methods; replicates are independent."""
    means = [run.curves[f"mean/{method}"] for method in run.config.algo.methods]
    scores = [(m.mean(axis=1) - run.results["exact"]) / (m.std(axis=1, ddof=1) / np.sqrt(m.shape[1])) for m in means]
    inside = int(run.results["inside"])
    return without_interval(np.abs(np.array(scores)[:, :inside]).max(), means[0].shape[1])


def curves_panel(ax, run) -> None:
    """One nesting: work-normalised variance against r, with the closed form of the single term where there is one."""
    for method in run.config.algo.methods:
        rates = _rates(run, method)[:, 0]
        style.curve(ax, rates, work(run, method), looks.METHODS["read" if method == "single" else method], count=False)
    style.reference(ax, *run.results["closed"], "READ, closed form")
    ax.set(xlabel="r", ylabel="variance × leaves", yscale="log", title=run.config.problem.name)
    ax.yaxis.set_minor_formatter("{x:g}")
    ax.tick_params(axis="y", which="minor", labelsize=6)


def map_panel(fig, ax, run, outside: bool, scaled: bool) -> None:
    """Two nestings: standard deviation of a replicate over (r_0, r_1), times the root of its cost if `scaled`."""
    inside = int(run.results["inside"])
    rows = slice(inside, None) if outside else slice(0, inside)
    rates = run.results["rates"][rows]
    value = deviation(run, "single")[rows] * (np.sqrt(_expected_leaves(run)[rows]) if scaled else 1)
    first, second = np.unique(rates[:, 0]), np.unique(rates[:, 1])
    grid = value.reshape(len(first), len(second))
    image = ax.imshow(grid.T, origin="lower", aspect="auto", cmap="viridis")
    ax.set_xticks(range(len(first)), [f"{r:.2f}" for r in first], fontsize=6)
    ax.set_yticks(range(len(second)), [f"{r:.2f}" for r in second], fontsize=6)
    for i in range(len(first)):
        for j in range(len(second)):
            light = grid[i, j] < (grid.min() + grid.max()) / 2
            ax.text(i, j, f"{grid[i, j]:.2g}", ha="center", va="center", fontsize=5, color="w" if light else "k")
    ax.grid(visible=False)
    ax.set(xlabel="$r_0$", ylabel="$r_1$")
    fig.colorbar(image, ax=ax, shrink=0.9)


def quick_look(run) -> None:
    """Curves or a map, into the run directory."""
    fig, ax = style.figure("column", 0.8)
    if run.results["rates"].shape[1] == 1:
        curves_panel(ax, run)
        ax.legend(fontsize=6)
    else:
        map_panel(fig, ax, run, outside=False, scaled=True)
    style.save(style.stamp(fig, [run]), run.figure("work"))
