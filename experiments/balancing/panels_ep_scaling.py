"""Drawings of experts over devices: balance step by step, and what each device computes and sends."""

import numpy as np

from experiments.lib import style
from experiments.lib.tables import Measured, without_interval

__all__ = ["devices_panel", "differing", "farthest", "quick_look", "violation_panel"]

_LOOKS = {
    1: style.Look("1 device", style.PALETTE["grey"], "-", "o"),
    2: style.Look("2 devices", style.PALETTE["blue"], (0, (5, 1)), "s"),
    4: style.Look("4 devices", style.PALETTE["vermilion"], (0, (3, 2)), "^"),
    8: style.Look("8 devices", style.PALETTE["green"], (0, (1, 1)), "D"),
}


def _several(run) -> np.ndarray:
    return np.asarray(run.results["devices"]) > 1


def differing(run, name: str) -> Measured:
    """How many numbers of `load` or `bias`, over all steps, differ from those on one device, or by NumPy."""
    found, several = run.results[name], _several(run)
    count = np.sum(found[several] != found[:1]) + np.sum(run.results["load"][0] != run.results["choices"])
    return without_interval(count, int(found[several].size))


def farthest(run) -> Measured:
    """The largest difference of an output on several devices from that on one, over the largest output."""
    several = _several(run)
    return without_interval(np.max(run.results["distance"][several]), int(several.sum()))


def violation_panel(ax, run) -> None:
    """MaxVio of the batch at every step, as counted on each number of devices; lines lie on each other."""
    for at, count in enumerate(run.results["devices"]):
        load = run.results["load"][at]
        violation = load.max(axis=1) / load.mean(axis=1) - 1
        look = _LOOKS[int(count)]
        width = 3.2 - 0.7 * at
        ax.plot(np.arange(len(load)), violation, color=look.color, linestyle=look.linestyle, label=look.label,
                linewidth=width)  # fmt: skip
    ax.set_yscale("log")
    ax.set_xlabel("step")
    ax.set_ylabel("MaxVio of the batch")
    ax.legend(fontsize=6)


def devices_panel(ax, run) -> None:
    """Most rows that a device computes over its equal share, before and after balancing; and rounds of the exchange."""
    devices, received = np.asarray(run.results["devices"]), run.results["received"]
    rounds = run.results["rounds"]
    at, quarter = np.arange(len(devices)), max(1, received.shape[1] // 4)
    parts = (("first step", slice(0, 1), "vermilion"), ("last quarter", slice(-quarter, None), "blue"))
    for shift, (label, steps, color) in zip((-0.2, 0.2), parts, strict=True):
        height = received[:, steps].mean(axis=1)
        ax.bar(at + shift, height, 0.38, color=style.PALETTE[color], label=label)
        for x, y, number in zip(at + shift, height, rounds[:, steps].mean(axis=1), strict=True):
            ax.annotate(f"{number:.3g}", (x, y), ha="center", va="bottom", fontsize=6)
    style.reference(ax, np.array([-0.5, len(devices) - 0.5]), np.ones(2), "equal share")
    meshes = zip(devices, run.results["data"], run.results["model"], strict=True)
    ax.set_xticks(at, [f"{count}\n{data} × {model}" for count, data, model in meshes])
    ax.set_ylim(0, 1.35 * received.max())
    ax.set_xlabel("devices, data × model")
    ax.set_ylabel("most rows of a device / share")
    ax.legend(fontsize=6)


def quick_look(run) -> None:
    """Both panels, into the run directory."""
    fig, axes = style.figure("text", 0.42, 1, 2)
    violation_panel(axes[0, 0], run)
    devices_panel(axes[0, 1], run)
    style.save(style.stamp(fig, [run]), run.figure("ep_scaling"))
