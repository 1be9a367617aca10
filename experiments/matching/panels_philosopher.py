"""Drawings of the philosopher: time per set and time of day against n, and what lies above and below its value."""

import numpy as np
from matplotlib.ticker import MaxNLocator

from experiments.lib import style
from experiments.lib.tables import Measured, without_interval
from experiments.matching import panels_looks as looks
from experiments.matching import panels_lp

__all__ = ["quick_look", "seconds", "share_of_memory", "share_panel", "size", "speedup", "time_panel", "widest"]

_BYTES = 8  # of a set and time: one float32 read, one written


def size(run) -> int:
    """n."""
    return run.config.problem.case[2]


def seconds(run) -> dict[str, float]:
    """Seconds per set and time: ours, the fastest step but the first; the peer's; the memory's."""
    steps, instances = run.config.problem.case[3], run.curves["philosopher"][0].size
    clocks, count = panels_lp.clocks(run), run.config.run.num_steps
    ours, peer, memory = clocks[1:count].min() / (instances * steps), clocks[count:-1].min(), clocks[-1]
    return {
        "ours": ours / 2 ** size(run),
        "numpy": peer / run.config.problem.peer_times / 2 ** size(run),
        "memory": memory / 2**30 * _BYTES,
    }


def speedup(run) -> Measured:
    """NumPy's seconds over ours, for a set and time."""
    found = seconds(run)
    return without_interval(found["numpy"] / found["ours"])


def share_of_memory(run) -> Measured:
    """Of the memory's bandwidth that one pass over the values at every time would use."""
    found = seconds(run)
    return without_interval(found["memory"] / found["ours"])


def _shares(run) -> dict[str, np.ndarray]:
    """`[instance]`: philosopher, rounding and bid prices over the relaxation's dual bound."""
    dual = run.results["dual"].astype(np.float64)
    # The host looks at the first replicate's instances.
    values = {"philosopher": run.curves["philosopher"][-1, 0]}
    values |= {name: run.results[name] for name in ("rounding", "bid_price")}
    return {name: value.astype(np.float64) / dual for name, value in values.items()}


def widest(runs, upper: str, lower: str) -> Measured:
    """The most that `lower` exceeds `upper` by on any instance, share of the dual bound; "dual" is the bound itself.

    Simulated means are lowered by six standard errors: an excess of one of a few dozen has a chance below 1e-7.
    """
    found = []
    for run in runs:
        shares = _shares(run)
        error = run.results[f"{lower}_error"] / run.results["dual"] if f"{lower}_error" in run.results else 0
        found.append(shares[lower] - 6 * error - (1 if upper == "dual" else shares[upper]))
    found = np.concatenate(found)
    return without_interval(found.max(), found.size)


def time_panel(ax, runs) -> None:
    """Nanoseconds per set and time against n."""
    at, found = [size(run) for run in runs], [seconds(run) for run in runs]
    for key, label, color, marker in (
        ("numpy", "NumPy, bit views", "grey", "s"), ("ours", "subset DP, blocks", "blue", "o"),
    ):  # fmt: skip
        ax.plot(at, [1e9 * one[key] for one in found], label=label, color=style.PALETTE[color], marker=marker)
    memory = 1e9 * np.median([one["memory"] for one in found])
    ax.axhline(
        memory, color=style.PALETTE["vermilion"], linestyle="--", linewidth=1.0,
        label=f"memory, {_BYTES} bytes at {_BYTES / memory:.0f} GB/s",
    )  # fmt: skip
    ax.set_yscale("log")
    ax.set_ylim(memory / 2, 1e10 * max(one["numpy"] for one in found))  # a decade for the legend
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_xlabel("offline nodes n")
    ax.set_ylabel("ns per set and time")


def share_panel(ax, runs) -> None:
    """Values over LP-OnOpt's dual bound against n: a point for every instance, a line through their means."""
    at = np.array([size(run) for run in runs])
    looked = {"philosopher": "philosopher", "bid_price": "bid_price", "rounding": "closed_form"}
    for name, key in looked.items():
        look, found = looks.ALGORITHMS[key], [_shares(run)[name] for run in runs]
        for x, shares in zip(at, found, strict=True):
            ax.scatter(np.full(len(shares), x), shares, s=4, color=look.color, alpha=0.4, linewidths=0)
        ax.plot(
            at, [shares.mean() for shares in found], color=look.color, linestyle=look.linestyle, marker=look.marker,
            markersize=3.5, label=look.label,
        )  # fmt: skip
    ax.axhline(1, color="0.45", linewidth=0.8, zorder=1)
    looks.guarantee_line(ax, "pivotal")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_xlabel("offline nodes n")
    looks.ratio_axis(ax, "LP-OnOpt")


def quick_look(run) -> None:
    """Both panels, into the run directory."""
    fig, axes = style.figure("text", 0.42, 1, 2)
    time_panel(axes[0, 0], [run])
    share_panel(axes[0, 1], [run])
    for ax in axes.flat:
        ax.legend(fontsize=6)
    style.save(style.stamp(fig, [run]), run.figure("philosopher"))
