"""Drawings of graph parsing: rounds against log2 of the nodes, and what each round leaves."""

import numpy as np

from experiments.lib import style
from experiments.lib.tables import Measured, measured, without_interval
from experiments.pooling import parsing as question

__all__ = ["clusters_panel", "forest_error", "most", "quick_look", "rounds_panel", "slowest"]

_LOOKS = {
    "path": style.Look("path, slowest scores", style.PALETTE["vermilion"], "-", "o"),
    "tree": style.Look("random tree", style.PALETTE["blue"], (0, (5, 1)), "s"),
    "grid": style.Look("grid", style.PALETTE["green"], (0, (3, 1, 1, 1)), "^"),
    "sparse": style.Look("random graph, 2 n pairs", style.PALETTE["purple"], (0, (1, 1)), "D"),
}


def _last(run, name: str) -> np.ndarray:
    """`[case, R]`."""
    return run.curves[name][-1].T


def most(run, name: str) -> Measured:
    """The most by which rounds exceed the bound, over all cases and seeds; `name` is "rounds" or "rescored"."""
    return without_interval(np.max(_last(run, name) - _last(run, "bound")), _last(run, name).shape[1])


def excess(run) -> Measured:
    """The most clusters that a round has left beyond its bound."""
    return without_interval(np.max(_last(run, "excess")), _last(run, "excess").shape[1])


def slowest(run) -> Measured:
    """Rounds over the bound on the slowest paths, the least over sizes: 1 where the bound is attained."""
    at = [place for place, (family, _) in enumerate(question.cases(run.config.problem)) if family == "path"]
    return without_interval(np.min(_last(run, "rounds")[at] / _last(run, "bound")[at]))


def forest_error(run) -> Measured:
    """The largest relative difference of the forest's weight from the other algorithm's; infinite if counts differ."""
    if (run.curves["forest"][-1, 0] != run.results["forest"]).any():
        return without_interval(np.inf)
    theirs = run.results["weight"]
    return without_interval(np.max(np.abs(run.curves["weight"][-1, 0] - theirs) / np.maximum(np.abs(theirs), 1)))


def rounds(run, family: str) -> Measured:
    """Rounds at the largest size, scores kept."""
    size = 2 ** max(run.config.problem.exponents)
    return measured(_last(run, "rounds")[question.cases(run.config.problem).index((family, size))])


def rounds_panel(ax, run, name: str = "rounds") -> None:
    """Rounds by size and family, with the bound."""
    asked, found = question.cases(run.config.problem), _last(run, name)
    sizes = 2 ** np.asarray(run.config.problem.exponents)
    for family in run.config.problem.families:
        at = [place for place, (mine, _) in enumerate(asked) if mine == family]
        look = _LOOKS[family]
        style.curve(ax, sizes, found[at], look, marker=look.marker, markersize=3)
    style.reference(ax, sizes, np.log2(sizes), "bound, log₂ n")
    ax.set_xscale("log", base=2)
    ax.set(xlabel="nodes n", ylabel="rounds", title="scores kept" if name == "rounds" else "scores of pooled features")


def clusters_panel(ax, run) -> None:
    """Clusters after each round at the largest size, with the halving bound."""
    size = 2 ** max(run.config.problem.exponents)
    for family in run.config.problem.families:
        values = run.curves[f"clusters/{family}"][-1].T
        look = _LOOKS[family]
        start = np.full((1, values.shape[1]), size)
        values = np.concatenate([start, values])
        style.curve(ax, np.arange(len(values)), values, look, marker=look.marker, markersize=3, count=False)
    steps = np.arange(int(np.log2(size)) + 1)
    style.reference(ax, steps, size / 2.0**steps, "bound, connected graphs")
    ax.set_yscale("log", base=2)
    ax.set_ylim(bottom=0.7)  # one cluster is the least; an interval of means may reach below
    ax.set(xlabel="round", ylabel="clusters", title=f"n = {size:,}")


def quick_look(run) -> None:
    """Rounds, into the run directory."""
    fig, ax = style.figure("column", 0.8)
    rounds_panel(ax, run)
    ax.legend(fontsize=6)
    style.save(style.stamp(fig, [run]), run.figure("parsing"))
