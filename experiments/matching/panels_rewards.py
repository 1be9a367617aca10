"""Drawings of stochastic rewards: shares of the matching program on the triangular graph, and of S-OPT by instance."""

import numpy as np

from experiments.lib import style
from experiments.lib.tables import Measured, measured, without_interval
from research.matching import stochastic_rewards as rewards

__all__ = ["LOOKS", "least_share", "optimum_panel", "policies", "program_panel", "quick_look", "share"]

LOOKS = {
    "balance": style.Look("Stochastic Balance", style.PALETTE["blue"], "-", "o"),
    "perturbed_greedy": style.Look("Perturbed Greedy", style.PALETTE["vermilion"], "-", "^"),
    "greedy": style.Look("greedy", style.PALETTE["black"], (0, (5, 1)), "*"),
    "random": style.Look("random", style.PALETTE["grey"], (0, (3, 1, 1, 1)), "D"),
}


def policies(run) -> tuple[str, ...]:
    """The run's policies."""
    return run.axes["policy"]


def share(run, policy: str, benchmark: str) -> np.ndarray:
    """Mean value over the matching program ("lp") or S-OPT ("optimum", where it is known), `[cases, R]`."""
    below = run.results[benchmark]
    return run.curves[policy][-1].T.astype(np.float64) / np.where(below > 0, below, np.nan)[:, None]


def _cases(run, kind: str) -> np.ndarray:
    return np.array([case[0] == kind for case in run.config.problem.cases])


def at(run, kind: str, n: int, policy: str) -> Measured:
    """Share of the matching program in one case of a graph."""
    place = [case[:2] for case in map(tuple, run.config.problem.cases)].index((kind, n))
    return measured(share(run, policy, "lp")[place])


def least_share(run, policy: str, benchmark: str) -> Measured:
    """The least share of a policy over the cases, mean over runs."""
    found = share(run, policy, benchmark).mean(axis=1)
    return without_interval(np.nanmin(found), int(np.sum(np.isfinite(found))))


def _line(ax, key: str, label: str) -> None:
    ratio = rewards.GUARANTEES[key].ratio
    ax.axhline(ratio, color="0.45", linestyle="--", linewidth=0.8, zorder=1)
    ax.annotate(
        label, (0, ratio), xycoords=("axes fraction", "data"), xytext=(2, 1), textcoords="offset points", fontsize=6,
        color="0.3", va="bottom",
    )  # fmt: skip


def program_panel(ax, run, kind: str) -> None:
    """Share of the matching program against the number of nodes of the triangular graph."""
    chosen = _cases(run, kind)
    nodes = np.array([case[1] for case in run.config.problem.cases])[chosen]
    for policy in policies(run):
        style.curve(
            ax, nodes, share(run, policy, "lp")[chosen], LOOKS[policy], marker=LOOKS[policy].marker, markersize=3
        )
    _line(ax, "balance_equal_lp", "0.576 (Balance)")
    ax.set_xscale("log")
    style.plain_ticks(ax.xaxis, nodes)
    ax.set_xlabel("nodes n, p = 1/n")


def optimum_panel(ax, run) -> None:
    """Share of S-OPT in the cases where it is known, of graphs whose nodes are renamed and of clicks."""
    known = np.flatnonzero((run.results["optimum"] > 0) & ~_cases(run, "triangular"))
    width = 0.8 / len(policies(run))
    for k, policy in enumerate(policies(run)):
        found = [measured(row) for row in share(run, policy, "optimum")[known]]
        value = np.array([one.value for one in found])
        place = np.arange(len(known)) + (k - (len(policies(run)) - 1) / 2) * width
        ax.errorbar(
            place, value, yerr=[value - [one.low for one in found], [one.high for one in found] - value],
            color=LOOKS[policy].color, marker=LOOKS[policy].marker, linestyle="none", markersize=3, elinewidth=0.8,
            label=f"{LOOKS[policy].label} (n = {found[0].n})",
        )  # fmt: skip
    names = [_size(run.config.problem.cases[k]) for k in known]
    for edge in np.arange(len(known) - 1) + 0.5:
        ax.axvline(edge, color="0.9", linewidth=0.6, zorder=0)
    ax.set_xticks(range(len(known)), names, rotation=30, ha="right", rotation_mode="anchor", fontsize=6)
    ax.set_xlim(-0.5, len(known) - 0.5)
    ax.grid(axis="x", visible=False)
    _line(ax, "balance_equal", "0.613 (Balance, equal p → 0)")


def _size(case) -> str:
    kind, n, parameter = case
    return f"clicks {n} × {parameter}" if kind == "clicks" else f"graph, n = {n}"


def quick_look(run) -> None:
    """Both panels, into the run directory."""
    fig, axes = style.figure("text", 0.45, 1, 2)
    program_panel(axes[0, 0], run, "permuted")
    optimum_panel(axes[0, 1], run)
    style.save(style.stamp(fig, [run]), run.figure("rewards"))
