"""Drawings of coordinated bidding: what every client gains, how pacing settles, and whether lies pay."""

import numpy as np

from experiments.lib import style
from experiments.lib.tables import Measured, measured, without_interval

__all__ = [
    "gains_panel", "least_gain", "lies_panel", "multiplier_panel", "overspent", "quick_look", "welfare_ratio",
]  # fmt: skip

RULES = {
    "independent": style.Look("alone", style.PALETTE["black"], "-", "o"),
    "leader": style.Look("leader", style.PALETTE["vermilion"], (0, (5, 1)), "^"),
    "shadow": style.Look("shadow auctions", style.PALETTE["blue"], "-", "s"),
}
_CLIENTS = ("sky", "green", "orange", "purple", "vermilion", "blue")


def _last(run, metric: str) -> np.ndarray:
    return run.curves[metric][-1].astype(np.float64)


def least_gain(run, rule: str) -> Measured:
    """The least of (coordinated - alone) / alone over clients and replicates, utilities on the same auctions."""
    alone = _last(run, "utility/independent")
    found = (_last(run, f"utility/{rule}") - alone) / alone
    return without_interval(found.min(), found.size)


def welfare_ratio(run, rule: str) -> Measured:
    """Utility of all clients together, over that of bidding alone."""
    return measured(_last(run, f"utility/{rule}").sum(axis=1) / _last(run, "utility/independent").sum(axis=1))


def overspent(run) -> Measured:
    """The largest spend over budget, of any rule, client and replicate."""
    budgets = run.config.run.num_steps * np.asarray(run.config.problem.budget_rates)
    found = np.stack([_last(run, f"spend/{rule}") / budgets for rule in RULES])
    return without_interval(found.max(), found.size)


def gains_panel(ax, run) -> None:
    """Utility under coordination over utility alone, every client and all together."""
    names = [f"budget {name}" for name in run.axes["client"]] + ["together"]
    alone = _last(run, "utility/independent")
    for shift, rule in ((-0.12, "leader"), (0.12, "shadow")):
        earned = _last(run, f"utility/{rule}")
        ratios = np.column_stack([earned / alone, earned.sum(axis=1) / alone.sum(axis=1)])
        found = [measured(column) for column in ratios.T]
        value = np.array([one.value for one in found])
        ax.errorbar(
            np.arange(len(names)) + shift, value, linestyle="none", color=RULES[rule].color, marker=RULES[rule].marker,
            yerr=[value - [one.low for one in found], [one.high for one in found] - value], markersize=3.5,
            elinewidth=0.8, label=f"{RULES[rule].label} (n = {found[0].n})",
        )  # fmt: skip
    style.reference(ax, [-0.5, len(names) - 0.5], [1, 1], "alone", linewidth=0.8)
    ax.set_xticks(range(len(names)), names, rotation=30, ha="right", rotation_mode="anchor")
    ax.set_xlim(-0.5, len(names) - 0.5)
    ax.set_ylim(bottom=0.9)
    ax.grid(axis="x", visible=False)
    ax.set_ylabel("utility / utility alone")


def multiplier_panel(ax, run) -> None:
    """Pacing multipliers of bidding alone against rounds, and where they should settle."""
    for place, (name, color) in enumerate(zip(run.axes["client"], _CLIENTS, strict=False)):
        look = style.Look(f"budget {name}", style.PALETTE[color])
        style.curve(ax, run.curves["step"], run.curves["multiplier/independent"][..., place], look, count=False)
        point = run.results["fixed_point"][place]
        label = "fixed point" if place == 0 else "_nolegend_"
        style.reference(ax, run.curves["step"][[0, -1]], [point, point], label, color=look.color, linewidth=0.8)
    ax.set_ylim(
        top=1.35 * max(run.results["fixed_point"].max(), run.curves["multiplier/independent"].mean(axis=1).max())
    )
    ax.set_xlabel("rounds")
    ax.set_ylabel("pacing multiplier, alone")


def lies_panel(ax, run) -> None:
    """What a client gains by scaling her reported values, relative to honest utility; the worst client of each rule."""
    scales = np.array([float(scale) for scale in run.axes["scale"]])
    for rule, look in RULES.items():
        honest = _last(run, f"utility/{rule}").mean(axis=0)
        best = (run.results[f"lie/{rule}"] / honest[:, None]).max(axis=0)
        ax.plot(
            scales, best, color=look.color, linestyle=look.linestyle, marker=look.marker, label=look.label, markersize=3
        )
    ax.axhline(0, color="0.6", linewidth=0.6, zorder=1)
    ax.set_xscale("log")
    style.plain_ticks(ax.xaxis, scales[np.isin(np.log2(scales), (-2, -1, 0, 1, 2))])
    ax.tick_params(axis="x", labelsize=6)
    ax.set_xlabel("reported / true values")
    ax.set_ylabel("gain of the best liar / honest utility")


def quick_look(run) -> None:
    """All panels, into the run directory."""
    fig, axes = style.figure("text", 0.42, 1, 3)
    for ax, panel in zip(axes[0], (gains_panel, multiplier_panel, lies_panel), strict=True):
        panel(ax, run)
        ax.legend(fontsize=5.5)
    style.save(style.stamp(fig, [run]), run.figure("bidding"))
