"""Drawings of strong convexity along the path of a bias, and of its estimates."""

import numpy as np

from experiments.lib import style
from experiments.lib.tables import Measured, measured, without_interval

__all__ = [
    "estimate_panel",
    "estimation",
    "largest_error",
    "path_panel",
    "quick_look",
    "router_panel",
    "tightness",
    "unevenness",
]

_LOOKS = dict(zip(("normal", "uniform", "logistic", "gumbel"), ("blue", "vermilion", "green", "purple"), strict=True))
_MARKERS = dict(zip(_LOOKS, "os^D", strict=True))


def _updates(run) -> np.ndarray:
    """Updates done before each chunk."""
    return run.curves["step"] - run.config.run.chunk


def _kind(run, name: str, kind: str) -> np.ndarray:
    return run.curves[name][..., run.axes["kind"].index(kind)].astype(np.float64)


def estimation(run, kind: str) -> Measured:
    """Estimate over trace H / (E - 1): per seed the mean over the path."""
    return measured((_kind(run, "estimate", kind) / _kind(run, "mean", kind)).mean(axis=0))


def largest_error(run) -> Measured:
    """|estimate / (trace H / (E - 1)) - 1|, the largest of all batches, families and seeds."""
    ratio = run.curves["estimate"].astype(np.float64) / run.curves["mean"]
    return without_interval(np.abs(ratio - 1).max(), ratio.size)


def tightness(run) -> Measured:
    """The Gumbel router's modulus over its lower bound: the least of the path, >= 1 by the theorem."""
    ratio = run.curves["router"].astype(np.float64) / run.curves["bound"]
    return without_interval(ratio.min(), run.config.run.replicates)


def unevenness(run, kind: str) -> Measured:
    """Modulus over the mean eigenvalue at the end of the path; 1 in location families."""
    return measured(_kind(run, "modulus", kind)[-1] / _kind(run, "mean", kind)[-1])


def path_panel(ax, run) -> None:
    """Modulus and mean nonzero eigenvalue (dashed) against updates."""
    for kind in run.axes["kind"]:
        how = style.Look(kind, style.PALETTE[_LOOKS[kind]])
        style.curve(ax, _updates(run), _kind(run, "modulus", kind), how)
        ax.plot(_updates(run), _kind(run, "mean", kind).mean(axis=1), color=how.color, linestyle="--", linewidth=0.8,
                label="_nolegend_")  # fmt: skip
    ax.set(xlabel="updates n", ylabel="eigenvalues of H, 1 / score units")
    ax.set_ylim(bottom=0)


def estimate_panel(ax, run) -> None:
    """Estimates from margins against the mean eigenvalue, one point a batch; the shade is 10 %."""
    for kind in run.axes["kind"]:
        ax.plot(_kind(run, "mean", kind).ravel(), _kind(run, "estimate", kind).ravel(), linestyle="none",
                marker=_MARKERS[kind], markersize=2, color=style.PALETTE[_LOOKS[kind]], label=kind)  # fmt: skip
    ends = np.array([run.curves["mean"].min() * 0.95, run.curves["mean"].max() * 1.05])
    style.reference(ax, ends, ends, "trace H / (E − 1)")
    ax.fill_between(ends, 0.9 * ends, 1.1 * ends, color=style.PALETTE["grey"], alpha=0.15, linewidth=0)
    ax.set(xlabel="trace H / (E − 1), by quadrature", ylabel="estimate from margins")


def router_panel(ax, run) -> None:
    """The Gumbel router's modulus and its lower bound against updates."""
    style.curve(ax, _updates(run), run.curves["router"], style.Look("Gumbel router, µ", style.PALETTE["blue"]))
    bound = style.Look("exp(−spread) / E", style.PALETTE["grey"], "--")
    style.curve(ax, _updates(run), run.curves["bound"], bound, count=False)
    ax.axhline(1 / run.config.problem.experts, color="k", linewidth=0.5)
    ax.set(xlabel="updates n", ylabel="µ, 1 / score units")
    ax.set_ylim(bottom=0)


def quick_look(run) -> None:
    """All panels, into the run directory."""
    fig, axes = style.figure("text", 0.38, 1, 3)
    for ax, panel in zip(axes[0], (path_panel, estimate_panel, router_panel), strict=True):
        panel(ax, run)
        ax.legend(fontsize=6)
    style.save(style.stamp(fig, [run]), run.figure("strong_convexity"))
