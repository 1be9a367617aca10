"""Drawings of the dual value on fixed scores: its course, what decides whether it falls, and the identity's error."""

import numpy as np

from experiments.balancing import panels_rules
from experiments.lib import style
from experiments.lib.tables import Measured, without_interval

__all__ = [
    "balanced_steps", "certificate", "condition_panel", "error_panel", "gap", "gap_panel", "largest_error", "misjudged",
    "quick_look", "violated",
]  # fmt: skip


def gap(run) -> np.ndarray:
    """D(p_n) - OPT per token, `[n, R, row]`, in score units."""
    return (run.curves["dual"] - run.results["optimum"][None, :, None]) / run.config.problem.tokens


def _exact(value, run) -> Measured:
    return without_interval(value, run.config.run.replicates)


def largest_error(run) -> Measured:
    """Of the identity, over all updates of all rows and instances, in score units."""
    return _exact(run.curves["identity"].max(), run)


def misjudged(run) -> Measured:
    """Updates where D fell although the benefit was not smaller than required, or the other way round; differences
    below a rounding of 1e-11 decide nothing."""
    change, margin = run.curves["change"], run.curves["benefit"] - run.curves["required"]
    clear = np.abs(margin) > 1e-11
    return _exact(np.sum(clear & ((change < 0) != (margin < 0))), run)


def violated(run, name: str) -> Measured:
    """The most by which a bound is exceeded: "ahead", of the change by the new loads; "loss", OPT - V by p (A - L)."""
    if name == "ahead":
        over = run.curves["change"] - run.curves["ahead"]
    else:
        over = run.results["optimum"][None, :, None] - run.curves["value"] - run.curves["loss_bound"]
    return _exact(over.max(), run)


def balanced_steps(run) -> Measured:
    """Share of rows and instances in which all loads are equal after some update."""
    return _exact((run.curves["deviation"] == 0).any(axis=0).mean(), run)


def certificate(run) -> Measured:
    """Largest |D - OPT| and |V - OPT| among all updates after which loads are equal, in score units."""
    balanced = run.curves["deviation"] == 0
    optimum = run.results["optimum"][None, :, None]
    off = np.maximum(np.abs(run.curves["dual"] - optimum), np.abs(run.curves["value"] - optimum))
    return _exact(np.max(off, where=balanced, initial=0.0), run)


def gap_panel(ax, run) -> None:
    """Least D - OPT per token of the first n updates, mean over instances; the curve ends below 1e-7."""
    best = np.minimum.accumulate(gap(run), axis=0).mean(axis=1)
    for at, row in panels_rules.places(run):
        how = panels_rules.look(row)
        ax.plot(run.curves["step"], np.where(best[:, at] > 1e-7, best[:, at], np.nan), color=how.color,
                linestyle=how.linestyle, label=how.label)  # fmt: skip
    ax.set(xscale="log", yscale="log", xlabel="updates n", ylabel="least (D(p) − OPT) / T so far")


def condition_panel(ax, run, kind: str = "sign") -> None:
    """Change of D against benefit over required benefit, every update of one rule: it falls left of 1, rises right."""
    for at, row in panels_rules.places(run, kind):
        how = panels_rules.look(row)
        required, benefit, change = (run.curves[name][..., at].ravel() for name in ("required", "benefit", "change"))
        # Equal loads require nothing, and nothing happens.
        kept = required > 0
        ax.scatter(benefit[kept] / required[kept], change[kept] / required[kept], s=3, color=how.color, label=how.label,
                   linewidths=0, alpha=0.5, rasterized=True)  # fmt: skip
    reach = np.array([0.0, 2.0])
    style.reference(ax, reach, reach - 1, "identity")
    ax.axvline(1, color="k", linewidth=0.5, zorder=0)
    ax.axhline(0, color="k", linewidth=0.5, zorder=0)
    ax.set(xlabel="Σ b / required", ylabel="change of D / required", xlim=(-0.05, 2.05), ylim=(-1.1, 1.1))


def error_panel(ax, run) -> None:
    """Largest error of the identity over instances against n, per row, with the error that is claimed."""
    error = run.curves["identity"].max(axis=1)
    for at, row in panels_rules.places(run):
        how = panels_rules.look(row)
        ax.plot(run.curves["step"], np.maximum(error[:, at], 1e-17), color=how.color, linewidth=0.7)
    style.reference(ax, run.curves["step"][[0, -1]], [1e-9, 1e-9], "claimed")
    ax.set(xscale="log", yscale="log", xlabel="updates n", ylabel="error of the identity, score units")
    ax.set_ylim(1e-17, 1e-8)


def quick_look(run) -> None:
    """The course of D, into the run directory."""
    fig, ax = style.figure()
    gap_panel(ax, run)
    ax.legend(fontsize=6)
    style.save(style.stamp(fig, [run]), run.figure("lagrangian"))
