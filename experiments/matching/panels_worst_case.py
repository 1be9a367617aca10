"""Drawings of the instance built against the rounding: ratio against s, and against the size of the instance."""

import numpy as np
from matplotlib.ticker import FuncFormatter, NullLocator

from experiments.lib import style
from experiments.lib.tables import Measured, measured, without_interval
from experiments.matching import panels_looks as looks
from research.matching import bounds

__all__ = ["against_share", "against_size", "formula_claims", "largest_deviation", "quick_look", "shares", "sizes"]


def shares(run) -> np.ndarray:
    """The instances' s."""
    return np.asarray(run.config.problem.poisson)


def sizes(run) -> list[int]:
    """Numbers m of nearly exhausted nodes."""
    return list(run.config.problem.exhausted)


def _rescaling(run, scaling: str) -> tuple[float, float]:
    return (run.config.algo.eps, run.config.algo.delta) if scaling == "scaled" else (0.0, 0.0)


def _ratios(run, scaling: str, m: int) -> np.ndarray:
    """Simulated value / LP after all runs, `[R, s]`."""
    return run.curves[f"{scaling}/{m}"][-1].astype(np.float64)


def largest_deviation(run) -> Measured:
    """Largest |simulated - closed form| over all cases, in standard errors of the mean over replicates."""
    worst = 0.0
    for scaling in looks.SCALINGS:
        for m in sizes(run):
            found = _ratios(run, scaling, m)
            error = found.std(axis=0, ddof=1) / np.sqrt(len(found))
            off = np.abs(found.mean(axis=0) - run.results[f"formula/{scaling}/{m}"])
            # Nothing is random where the value is 1 in every run; float32 then leaves the last digit.
            worst = max(worst, float(np.max(off / np.maximum(error, 1e-6))))
    return without_interval(worst, run.config.run.replicates)


def formula_claims(run, sizes, share: float) -> dict[str, Measured]:
    """The closed form at the given sizes and s, and its limit at the worst s, of both scalings."""
    found = {}
    for scaling in looks.SCALINGS:
        values = bounds.hard_edge_ratio(np.asarray(sizes), share, *_rescaling(run, scaling))
        found |= {f"{scaling}_{m}": without_interval(value) for m, value in zip(sizes, values, strict=True)}
        found[f"rho_{scaling}"] = without_interval(bounds.rho(*_rescaling(run, scaling)).ratio)
    return found | {"philosopher": without_interval(run.results["philosopher"].min())}


def against_share(ax, run) -> None:
    """Ratio against s for the largest m: points with intervals, closed form at m and in the limit, guarantees."""
    m, grid = max(sizes(run)), np.linspace(0, 1, 201)
    for scaling, look in looks.SCALINGS.items():
        found = [measured(column) for column in _ratios(run, scaling, m).T]
        value = np.array([one.value for one in found])
        ax.plot(
            grid,
            bounds.hard_edge_ratio(m, grid, *_rescaling(run, scaling)),
            color=look.color,
            linewidth=1.0,
            linestyle=look.linestyle,
        )
        ax.errorbar(
            shares(run), value, yerr=[value - [one.low for one in found], [one.high for one in found] - value],
            color=look.color, marker=look.marker, linestyle="none", markersize=3, elinewidth=0.8,
            label=f"{look.label} (n = {found[0].n})",
        )  # fmt: skip
    ax.plot(shares(run), run.results["philosopher"], color="black", linewidth=1.0, label="philosopher (exact)")
    for key in ("pivotal", "bins", "independent"):
        looks.guarantee_line(ax, key)
    ax.set_xlim(0, 1)
    ax.set_ylim(0.6, 1.02)
    ax.set_xlabel("s, mass on exhausted nodes")
    ax.set_title(f"{m} exhausted nodes")


def against_size(ax, run, share: float) -> None:
    """Ratio against m at one s."""
    at, place = np.geomspace(2, 2000, 201), int(np.argmin(np.abs(shares(run) - share)))
    for scaling, look in looks.SCALINGS.items():
        rescaling = _rescaling(run, scaling)
        ax.plot(
            at,
            bounds.hard_edge_ratio(at, share, *rescaling),
            color=look.color,
            linewidth=1.0,
            linestyle=look.linestyle,
            label=f"{look.label}",
        )
        found = [measured(_ratios(run, scaling, m)[:, place]) for m in sizes(run)]
        value = np.array([one.value for one in found])
        ax.errorbar(
            sizes(run), value, yerr=[value - [one.low for one in found], [one.high for one in found] - value],
            color=look.color, marker=look.marker, linestyle="none", markersize=3, elinewidth=0.8, label="_nolegend_",
        )  # fmt: skip
        limit = 1 - (rescaling[0] + (1 - rescaling[0]) * share) * np.exp(-(1 + rescaling[1]) * share)
        style.reference(ax, [2, 2000], [limit, limit], "limit, m → ∞" if scaling == "scaled" else "_nolegend_")
    ax.set_xscale("log")
    ax.set_xlim(2, 2000)
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    ax.set_xlabel("m, exhausted nodes")
    ax.set_title(f"s = {share:g}, where ρ(0.11, 0.18) = {float(bounds.rho(0.11, 0.18).ratio):.4f}")


def quick_look(run) -> None:
    """Both panels, into the run directory."""
    fig, axes = style.figure("text", 0.42, 1, 2)
    against_share(axes[0, 0], run)
    against_size(axes[0, 1], run, 0.724)
    looks.ratio_axis(axes[0, 0], "LP")
    for ax in axes.flat:
        ax.legend(fontsize=6)
    style.save(style.stamp(fig, [run]), run.figure("worst_case"))
