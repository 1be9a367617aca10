"""Drawings of the solver: certified gap against wall time, and time per instance beside HiGHS."""

import json

import numpy as np
from matplotlib.ticker import NullFormatter

from experiments.lib import style
from experiments.lib.tables import Measured, without_interval

__all__ = [
    "clocks",
    "gap_panel",
    "largest_gap",
    "name",
    "primal_within",
    "quick_look",
    "seconds",
    "speedup",
    "time_panel",
]

_COLORS = ("blue", "sky", "green", "orange", "vermilion")
_HIGHS = {"simplex": "s", "interior point": "D", "interior point, 1e-4": "v"}
_PEERS = {name: (f"HiGHS {name}", marker, "grey") for name, marker in _HIGHS.items()}
_PEERS["r2HPDHG, 1e-4"] = ("MPAX r2HPDHG, 1e-4", "P", "purple")


def _size(run) -> tuple[int, int]:
    return tuple(run.config.problem.case[2:])


def name(run) -> str:
    """What a run solves: "20 × 50", "20 × 50, batch of 64"."""
    n, steps = _size(run)
    lanes = run.config.run.replicates
    return f"{n} × {steps:,}" + (f", batch of {lanes}" if lanes > 1 else "")


def clocks(run) -> np.ndarray:
    """Seconds of every row of `timing.jsonl`."""
    rows = [json.loads(line) for line in (run.path / "timing.jsonl").read_text().splitlines()]
    return np.array([row["seconds"] for row in rows])


def seconds(run) -> np.ndarray:
    """Seconds per instance at every tolerance: the fastest lap but the first."""
    count = len(run.config.algo.tolerances)
    laps = clocks(run)[: run.config.run.num_steps].reshape(-1, count)
    return laps[1:].min(axis=0) / (run.config.problem.instances * run.config.run.replicates)


def peer_seconds(run) -> dict[str, np.ndarray]:
    """The other solvers' seconds on the compared instances, `[K]` by name."""
    peers, found = list(run.axes["peer"]), clocks(run)[run.config.run.num_steps :]
    return dict(zip(peers, found.reshape(len(peers), -1), strict=True)) if peers else {}


def speedup(run) -> Measured:
    """Median seconds of the fastest of HiGHS's methods over ours at the tightest tolerance."""
    fastest = min(np.median(times) for name, times in peer_seconds(run).items() if name in _HIGHS)
    return without_interval(fastest / seconds(run)[-1], run.config.problem.compared)


def largest_gap(run) -> Measured:
    """The largest certified gap at the tightest tolerance: of all instances in float32, and again in float64."""
    gaps = run.curves["gap"][len(run.config.algo.tolerances) - 1]
    return without_interval(max(gaps.max(), run.results["certified"].max()), gaps.size)


def primal_within(run) -> Measured:
    """Largest |our primal - HiGHS's optimum| / optimum on the compared instances."""
    primal = run.curves["primal"][len(run.config.algo.tolerances) - 1].reshape(-1)[: run.config.problem.compared]
    optimum = run.results["highs"]
    return without_interval(np.max(np.abs(primal - optimum) / optimum), len(optimum))


def gap_panel(ax, runs) -> None:
    """Median certified gap against seconds per instance, a line for every run."""
    for run, color in zip(runs, _COLORS, strict=False):
        count = len(run.config.algo.tolerances)
        gaps = np.median(run.curves["gap"][:count].reshape(count, -1), axis=1)
        batch = run.config.run.replicates > 1
        ax.plot(
            seconds(run), gaps, color=style.PALETTE[color], marker="s" if batch else "o", label=name(run),
            linestyle=(0, (5, 1)) if batch else "-",
        )  # fmt: skip
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.xaxis.set_minor_formatter(NullFormatter())  # within one decade they would lie over each other
    ax.set_xlabel("seconds per instance")
    ax.set_ylabel("certified gap, median")


def time_panel(ax, runs) -> None:
    """Seconds per instance against its size n T: ours at the tightest tolerance, and the other solvers."""
    single = [run for run in runs if run.config.run.replicates == 1]
    at = np.array([np.prod(_size(run)) for run in single])
    tolerance = min(single[0].config.algo.tolerances)
    ax.plot(
        at, [seconds(run)[-1] for run in single], color=style.PALETTE["blue"], marker="o",
        label=f"dualscan, certified gap $10^{{{np.log10(tolerance):.0f}}}$",
    )  # fmt: skip
    for run in runs:
        if run.config.run.replicates > 1:
            ax.scatter(
                [np.prod(_size(run))], [seconds(run)[-1]], marker="s", color=style.PALETTE["sky"], zorder=3, s=14,
                label=f"dualscan, batch of {run.config.run.replicates}",
            )  # fmt: skip
    for peer, (label, marker, color) in _PEERS.items():
        found = [(x, np.median(peer_seconds(run)[peer])) for x, run in zip(at, single, strict=True)
                 if peer in peer_seconds(run)]  # fmt: skip
        if found:
            ax.plot(
                *np.transpose(found), color=style.PALETTE[color], marker=marker, linestyle=":", markersize=3,
                label=label,
            )  # fmt: skip
    ax.set_xscale("log")
    ax.set_yscale("log")
    style.plain_ticks(ax.xaxis, at)
    ax.set_xlabel("n T, size of the instance")
    ax.set_ylabel("seconds per instance")


def quick_look(run) -> None:
    """Gap against time, into the run directory."""
    fig, ax = style.figure("column")
    gap_panel(ax, [run])
    ax.legend(fontsize=6)
    style.save(style.stamp(fig, [run]), run.figure("lp"))
