"""Drawings of what low-rank bilinear pooling expresses."""

import numpy as np

from experiments.lib import style
from experiments.lib.tables import Measured, measured, without_interval

__all__ = ["excess_panel", "inexact", "least", "learned", "margin_panel", "quick_look", "separated_panel", "unneeded"]

_COLORS = ("vermilion", "orange", "blue", "green", "purple")
_MARKERS = ("s", "^", "o", "D", "v")


def least(run, name: str) -> Measured:
    """Smallest margin of a construction over all sets of triples."""
    return without_interval(run.results[name].min(), run.config.run.replicates)


def inexact(run, name: str) -> Measured:
    """Largest distance of a construction's margin from 1."""
    return without_interval(np.abs(run.results[name] - 1).max(), run.config.run.replicates)


def unneeded(run) -> Measured:
    """Largest of needed rank less min(E, R): never above 0."""
    return without_interval((run.results["needed"] - run.results["full"]).max(), run.config.run.replicates)


def learned(run) -> Measured:
    """Share of sets that learned factors separate at the rank that is needed, by scores below and above a threshold."""
    margin = run.curves["margin"][-1]
    at = run.results["needed"] - 1
    return measured(np.take_along_axis(margin, at[:, None], axis=1)[:, 0] > 0)


def margin_panel(ax, run) -> None:
    """Margins of the constructions, set by set."""
    order = np.argsort(run.results["normalised"])
    at = np.arange(len(order)) + 1
    for name, label, color, marker in (
        ("constructed", "k = min(E, R)", "blue", "o"), ("frugal", "least k that suffices", "orange", "x"),
        ("normalised", "k = min(E, R), normalised", "green", "^"),
    ):  # fmt: skip
        ax.plot(at, run.results[name][order], linestyle="none", marker=marker, markersize=3.5, label=label,
                color=style.PALETTE[color])  # fmt: skip
    style.reference(ax, [at[0], at[-1]], [0, 0], "no separation")
    ax.set_xlabel("set of triples, by its last margin")
    ax.set_ylabel("lowest true − highest false score")
    ax.set_ylim(-0.55, 1.1)  # room for the legend below the line


def excess_panel(ax, run) -> None:
    """Squared error of learned factors above the least one of their rank; median and worst set."""
    for at, label in enumerate(run.axes["rank"]):
        values = np.maximum(run.curves["excess"][..., at], 1e-16)
        color = style.PALETTE[_COLORS[at % len(_COLORS)]]
        ax.plot(run.curves["step"], np.median(values, axis=1), color=color, label=label)
        ax.plot(run.curves["step"], values.max(axis=1), color=color, linestyle=":", label="_worst")
    ax.set(yscale="log", xlabel="steps", ylabel="squared error above the least of rank k")


def separated_panel(ax, run) -> None:
    """Share of sets that are separated, by rank: learned, by the least squared error, and those with enough rank."""
    ranks = np.arange(1, len(run.axes["rank"]) + 1)
    n = run.config.run.replicates
    shares = (
        ("learned", (run.curves["margin"][-1] > 0).mean(axis=0), "blue", "o"),
        ("least squared error", (run.results["best_margin"] > 1e-9).mean(axis=0), "orange", "^"),
    )
    for label, share, color, marker in shares:
        ax.plot(ranks, share, color=style.PALETTE[color], marker=marker, markersize=4, label=f"{label} (n = {n})")
    enough = (run.results["needed"][None] <= ranks[:, None]).mean(axis=1)
    style.reference(ax, ranks, enough, "exact scores exist")
    ax.set_xticks(ranks)
    ax.set_xlabel("rank, k")
    ax.set_ylabel("share of sets separated")
    ax.set_ylim(-0.03, 1.03)


def quick_look(run) -> None:
    """Separated sets by rank, into the run directory."""
    fig, ax = style.figure("column", 0.75)
    separated_panel(ax, run)
    ax.legend(fontsize=6)
    style.save(style.stamp(fig, [run]), run.figure("bilinear"))
