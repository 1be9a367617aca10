"""Drawings of rho over (eps, delta): in closed form, and the least of it and of what a search has found."""

import numpy as np

from experiments.lib import style
from experiments.lib.tables import Measured, without_interval
from experiments.matching import rho as question

__all__ = ["below_closed_form", "best", "closed_form_panel", "closed_forms", "envelope_panel", "named", "quick_look"]

_NAMES = {(0.11, 0.18): "0.678", (0.048, 0.0643): "0.652"}


def _grid(run) -> tuple[np.ndarray, np.ndarray]:
    return np.asarray(run.config.problem.eps), np.asarray(run.config.problem.delta)


def envelope(run) -> np.ndarray:
    """The least ratio known at every pair, `[eps, delta]`: of the closed form, of equal nodes, and of all searches."""
    found = run.curves["worst"][-1].min(axis=0).reshape(run.results["rho"].shape)
    return np.minimum(np.minimum(found, run.results["twins"]), run.results["rho"])


def closed_forms(run) -> dict[str, Measured]:
    """rho at the named pairs."""
    return {
        f"{e:g}, {d:g}": without_interval(v) for (e, d), v in zip(question.NAMED, run.results["alone"], strict=True)
    }


def named(run) -> dict[str, Measured]:
    """The worst that the longer search found at the named pairs."""
    return {
        f"{e:g}, {d:g}": without_interval(v)
        for (e, d), v in zip(question.NAMED, run.results["worst_alone"], strict=True)
    }


def below_closed_form(run, eps: float, delta: float) -> Measured:
    """How far below rho a search came at one pair of the grid; 0 if it did not."""
    place = tuple(int(np.argmin(np.abs(axis - at))) for axis, at in zip(_grid(run), (eps, delta), strict=True))
    return without_interval(run.results["rho"][place] - envelope(run)[place])


def best(run) -> Measured:
    """The largest lower envelope over the grid: what another pair might promise, for all that is known."""
    return without_interval(envelope(run).max())


def _map(ax, run, values, **look):
    eps, delta = _grid(run)
    shown = ax.contourf(delta, eps, values, levels=np.arange(0.6, 0.7301, 0.01), cmap="cividis", extend="both", **look)
    ax.contour(delta, eps, values, levels=[0.632, 0.652, 0.678], colors="white", linewidths=0.6)
    for (e, d), name in _NAMES.items():
        inside = delta.min() <= d <= delta.max() and eps.min() <= e <= eps.max()
        if inside:
            ax.scatter(
                [d], [e], s=22, marker="*", color=style.PALETTE["vermilion"], zorder=4, label=f"published, {name}"
            )
            ax.annotate(name, (d, e), xytext=(4, 3), textcoords="offset points", fontsize=6, color="white")
    ax.set_xlabel("δ")
    ax.grid(visible=False)
    return shown


def closed_form_panel(ax, run):
    """rho, the configuration of fresh and exhausted nodes."""
    ax.set_title("closed form ρ(ε, δ)")
    ax.set_ylabel("ε")
    return _map(ax, run, run.results["rho"])


def envelope_panel(ax, run):
    """The least ratio known; dotted where another configuration binds."""
    eps, delta = _grid(run)
    shown = _map(ax, run, envelope(run))
    other = run.results["rho"] - envelope(run) > 1e-5
    at = np.argwhere(other)
    ax.scatter(delta[at[:, 1]], eps[at[:, 0]], s=4, color="black", label="another configuration binds", zorder=3)
    ax.set_title("with the worst found by search")
    return shown


def quick_look(run) -> None:
    """Both panels, into the run directory."""
    fig, axes = style.figure("text", 0.45, 1, 2, sharey=True)
    closed_form_panel(axes[0, 0], run)
    shown = envelope_panel(axes[0, 1], run)
    fig.colorbar(shown, ax=axes, label="least E[min(1, X)] / Σ z")
    style.save(style.stamp(fig, [run]), run.figure("rho"))
