"""Drawings of the certificate: its margin over steps and batches with where runs diverge, and its limit over n."""

import numpy as np

from experiments.lib import style
from experiments.lib.tables import Measured, without_interval

__all__ = ["certified_divergences", "limit", "limit_panel", "margin_panel", "quick_look", "room", "saved"]


def _axes(run) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    setting = run.config.problem
    return np.asarray(setting.sizes), np.asarray(setting.batches), np.asarray(setting.scaled_steps)


def diverged(run) -> np.ndarray:
    """Share of seeds that diverged, or ended above their start, `[size, batch, step]`."""
    sizes, batches, steps = _axes(run)
    shares = []
    for share in batches:
        residual, status = (run.curves[f"{metric}/batch_{share:g}"][-1] for metric in ("residual", "status"))
        shape = (-1, len(sizes), len(steps))
        above = residual.reshape(shape) > run.results["first"][None, :, None]
        shares.append((above | (status.reshape(shape) != 0)).mean(axis=0))
    return np.stack(shares, axis=1)


def first_divergence(run) -> np.ndarray:
    """The least step at which at least half of the seeds diverged, `[size, batch]`; infinite where there is none."""
    steps = _axes(run)[2]
    lost = diverged(run) >= 0.5
    return np.where(lost.any(axis=-1), steps[np.argmax(lost, axis=-1)], np.inf)


def limit(run, n: int) -> Measured:
    """The largest certified eta L at n."""
    return without_interval(run.results["limit"][list(run.results["sizes"]).index(n)])


def certified_divergences(run) -> Measured:
    """The largest share of diverged seeds where the margin is at most 1."""
    return without_interval(np.max(diverged(run)[run.results["margin"] <= 1]))


def room(run) -> Measured:
    """The least ratio of the first diverging step to the largest certified one, over sizes and batches."""
    steps = _axes(run)[2]
    certified = steps[None, None] / run.results["margin"]
    return without_interval(np.min(first_divergence(run) / certified[..., 0]))


def saved(run) -> dict[int, Measured]:
    """Share of the published schedule's calls that the search could save, by n."""
    return {int(row[0]): without_interval(1 - row[-1]) for row in run.results["search"]}


def margin_panel(ax, run, size: int):
    """log10 of the margin at one size; white where it is 1, dashed where runs begin to diverge."""
    sizes, batches, steps = _axes(run)
    place = list(sizes).index(size)
    fine = np.geomspace(steps[0], steps[-1], 60)
    per_step = run.results["margin"][place, :, 0] / steps[0]
    shown = ax.contourf(
        fine, batches, np.log10(per_step[:, None] * fine[None]), levels=np.arange(-1.25, 1.51, 0.25), cmap="cividis",
        extend="both",
    )  # fmt: skip
    ax.plot(1 / per_step, batches, color="white", linewidth=1.4, label="certified up to here (margin 1)")
    edge = first_divergence(run)[place]
    known = np.isfinite(edge)
    ax.plot(
        edge[known], batches[known], color=style.PALETTE["vermilion"], linestyle="--", marker="o", markersize=3,
        label="half of the seeds diverge",
    )  # fmt: skip
    ax.set_xscale("log")
    ax.set_yscale("log")
    style.plain_ticks(ax.yaxis, batches)
    style.plain_ticks(ax.xaxis, [tick for tick in (0.1, 0.2, 0.5, 1, 2, 5) if steps[0] <= tick <= steps[-1]])
    ax.set_xlim(steps[0], steps[-1])
    ax.set_xlabel("η L")
    ax.set_ylabel("batch / √n")
    ax.grid(visible=False)
    ax.set_title(f"n = {size:,}")
    return shown


def limit_panel(ax, run) -> None:
    """The largest certified step by n, the published list, and where runs diverge at the recommended batch."""
    published = {4: 0.518, 25: 0.628, 100: 0.679, 400: 0.703, 10_000: 0.747}
    ax.plot(run.results["sizes"], run.results["limit"], color=style.PALETTE["blue"], label="certified, batch ⌈√n⌉")
    ax.plot(*zip(*published.items(), strict=True), linestyle="", marker="x", color="black", label="derived before")
    sizes, batches, _ = _axes(run)
    edge = first_divergence(run)[:, list(batches).index(1.0)]
    ax.plot(
        sizes, edge, linestyle="--", marker="o", markersize=3, color=style.PALETTE["vermilion"],
        label="half of the seeds diverge",
    )  # fmt: skip
    ax.set_xscale("log")
    ax.set_yscale("log")
    style.plain_ticks(ax.yaxis, (0.5, 0.7, 1, 2, 3, 5))
    ax.set_xlabel("n")
    ax.set_ylabel("η L")
    ax.set_title("largest step")


def quick_look(run) -> None:
    """The margin of the last size, into the run directory."""
    fig, ax = style.figure("column", 0.8)
    shown = margin_panel(ax, run, run.config.problem.sizes[-1])
    fig.colorbar(shown, ax=ax, label="log₁₀ margin")
    style.save(style.stamp(fig, [run]), run.figure("certificate"))
