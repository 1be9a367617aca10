"""Drawings of online maximin shares: ratios of every rule by the number of items, beside what is possible."""

import numpy as np

from experiments.lib import style
from experiments.lib.tables import Measured, without_interval
from research.matching import scheduling, scheduling_oracles

__all__ = ["contests", "game", "kind_panel", "quick_look", "ratios", "worst"]

_CONTESTS = {
    "two_goods": ("two agents", "blue", "o"), "list_goods": ("three, equal values, least loaded", "orange", "v"),
    "two_chores": ("two agents", "blue", "o"), "chores": ("three agents", "vermilion", "^"),
    "list_chores": ("three, equal values, least loaded", "orange", "v"),
}  # fmt: skip


def contests(kind: str) -> list[str]:
    """Names of the contests about "goods" or "chores"."""
    return [name for name in _CONTESTS if name.endswith(kind)]


def ratios(run, contest: str) -> np.ndarray:
    """The worst agent's load over her maximin share, `[lengths, R]`."""
    load, share = run.curves[f"load/{contest}"], run.results[f"share/{contest}"]
    return scheduling_oracles.ratio(load, share, chores=contest.endswith("chores"))


def worst(run, contest: str) -> Measured:
    """The worst ratio seen: random sequences and all sequences on the grid."""
    found, on_grid = ratios(run, contest), run.results[f"worst/{contest}"]
    pick = np.max if contest.endswith("chores") else np.min
    return without_interval(pick(np.append(found, on_grid)), found.size)


def game(run, kind: str) -> Measured:
    """The value of the game on the finest grids: what no rule for two agents can beat there."""
    values = run.results[f"game/{kind}"]
    return without_interval(values.max() if kind == "chores" else values.min())


def _rule(contest: str) -> tuple[str, int]:
    return {"two_goods": ("two_goods", 2), "two_chores": ("two_chores", 2), "chores": ("chores", 3)}.get(
        contest, ("least_loaded", 3)
    )


def kind_panel(ax, run, kind: str) -> None:
    """Mean and worst of random sequences, worst on grids, the game's value, and the guarantees."""
    lengths = np.asarray(run.config.problem.lengths)
    chores = kind == "chores"
    for contest in contests(kind):
        label, color, marker = _CONTESTS[contest]
        look, found = style.Look(label, style.PALETTE[color], "-", marker), ratios(run, contest)
        if not chores:
            found = np.minimum(found, 1)  # beyond her share nobody is owed anything
        style.curve(ax, lengths, found, look, linewidth=1.0)
        extreme = found.max(axis=1) if chores else found.min(axis=1)
        ax.plot(lengths, extreme, color=look.color, linestyle=":", linewidth=0.9, label="_nolegend_")
        on_grid = run.results[f"worst/{contest}"]
        if not chores:
            on_grid = np.minimum(on_grid, 1)
        ax.scatter(
            run.results[f"items/{contest}"], on_grid, color=look.color, marker=marker, s=12, zorder=3,
            label="_nolegend_",
        )  # fmt: skip
        rule, agents = _rule(contest)
        bound = float(scheduling.guarantee(rule, agents, chores=chores))
        style.reference(ax, [2, lengths.max()], [bound, bound], "_nolegend_", color=look.color, linewidth=0.8)
    ax.scatter(
        run.results["items/game"], run.results[f"game/{kind}"], marker="x", s=16, color="black", linewidths=0.9,
        zorder=4, label="game, two agents, grid",
    )  # fmt: skip
    limit = scheduling.impossibility(2, chores=chores)
    style.reference(ax, [2, lengths.max()], [limit, limit], "impossible, two agents", color="black", linewidth=0.8)
    ax.set_xlim(2, lengths.max())
    ax.set_xlabel("items")
    ax.set_title(kind)
    ax.set_ylabel(f"{'largest' if chores else 'smallest'} load / maximin share")


def quick_look(run) -> None:
    """Goods and chores, into the run directory."""
    fig, axes = style.figure("text", 0.45, 1, 2)
    for ax, kind in zip(axes[0], ("goods", "chores"), strict=True):
        kind_panel(ax, run, kind)
        ax.legend(fontsize=6)
    style.save(style.stamp(fig, [run]), run.figure("scheduling"))
