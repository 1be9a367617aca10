"""Drawings of the lanes: full operators evaluated, and time, per iteration and lane."""

import json

import numpy as np

from experiments.lib import style
from experiments.lib.tables import Measured, without_interval

__all__ = ["evaluated", "evaluations_panel", "microseconds", "quick_look", "time_panel", "whole_batch"]

_COLORS = tuple(style.PALETTE[name] for name in ("grey", "blue", "vermilion"))


def evaluated(run) -> dict[str, Measured]:
    """Full operators evaluated per iteration and lane: with shared coins over what one lane expects, with own coins."""
    shared, own = run.results["evaluated"]
    return {"shared": without_interval(shared / run.results["rate"]), "own": without_interval(own)}


def microseconds(run) -> np.ndarray:
    """Of every variant, per iteration and lane: the fastest lap but the first."""
    rows = [json.loads(line) for line in (run.path / "timing.jsonl").read_text().splitlines()]
    seconds = np.array([row["seconds"] for row in rows]).reshape(-1, len(run.axes["variant"]))[1:].min(axis=0)
    width = np.array([1, run.config.problem.lanes, run.config.problem.lanes])
    return 1e6 * seconds / (run.config.run.iterations * width)


def whole_batch(run) -> Measured:
    """Time of all lanes with shared coins over that of one alone."""
    times = microseconds(run)
    return without_interval(times[1] * run.config.problem.lanes / times[0])


def _bars(ax, run, values, format) -> None:
    names = list(run.axes["variant"])
    labels = [f"{run.config.problem.lanes} lanes,\n{name}" if name != "alone" else "one lane" for name in names]
    ax.bar(labels, values, color=_COLORS, width=0.6)
    for place, value in enumerate(values):
        ax.annotate(format.format(value), (place, value), xytext=(0, 2), textcoords="offset points", ha="center",
                    fontsize=6)  # fmt: skip
    ax.margins(y=0.1)
    ax.grid(visible=False, axis="x")
    ax.tick_params(axis="x", labelsize=6)


def evaluations_panel(ax, run) -> None:
    """Full operators per iteration and lane: expected of one lane, counted for the others."""
    _bars(ax, run, [float(run.results["rate"]), *run.results["evaluated"]], "{:.3f}")
    ax.set_ylabel("full operators / iteration / lane")


def time_panel(ax, run) -> None:
    """Microseconds per iteration and lane."""
    _bars(ax, run, microseconds(run), "{:.1f}")
    ax.set_ylabel("µs / iteration / lane")


def quick_look(run) -> None:
    """Both panels, into the run directory."""
    fig, axes = style.figure("text", 0.4, 1, 2)
    evaluations_panel(axes[0, 0], run)
    time_panel(axes[0, 1], run)
    style.save(style.stamp(fig, [run]), run.figure("lanes"))
