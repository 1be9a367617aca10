"""Drawings of the paths experiment: regret of every group under its bound, its two parts, the perturbation's effect."""

import numpy as np
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from experiments.lib import style

__all__ = [
    "bound_factor", "groups_panel", "leader_ratio", "legend", "meta_ratio", "perturbation_panel",
    "quick_look", "regret", "regret_panel",
]  # fmt: skip

#: The theorem's perturbation.
THEOREM = "1"

_LOOKS = {
    "learner": style.LOOKS["anh"]._replace(label="learner: ANH over the groups"),
    "leader": style.LOOKS["fpl"]._replace(label="the group's own leader"),
    "single": style.LOOKS["baseline"]._replace(label="one leader for everybody"),
    "uniform": style.Look("uniform over awake groups", style.PALETTE["purple"], "-", "P"),
}
_PERTURBATION_LOOKS = {
    "1": style.Look("theorem's perturbation", style.PALETTE["green"], "-", "<"),
    "0.1": style.Look("a tenth of it", style.PALETTE["orange"], (0, (5, 1)), "v"),
    "0": style.Look("no perturbation", style.PALETTE["vermilion"], (0, (3, 1, 1, 1)), "^"),
}


def regret(run, kind: str, perturbation: str = THEOREM) -> np.ndarray:
    """`[points, R, G]`: loss of `kind` (learner, leader, single, uniform) minus that of the best path in hindsight."""
    return run.curves[f"{kind}/{perturbation}"] - run.curves["hindsight"]


def leader_ratio(run) -> np.ndarray:
    """Measured / bound of the leaders, `[points, G]`, averaged over instances: T5 is about the mean."""
    return np.mean(regret(run, "leader") / np.maximum(run.curves["leader_bound"], 1e-12), axis=1)


def meta_ratio(run) -> np.ndarray:
    """Measured / bound of the aggregator, in every instance: T1 is about each. `[points, R, G]`"""
    part = run.curves[f"learner/{THEOREM}"] - run.curves[f"leader/{THEOREM}"]
    return part / np.maximum(run.curves[f"meta_bound/{THEOREM}"], 1e-12)


def bound_factor(run) -> np.ndarray:
    """How many times the bound exceeds the measured regret of everybody's leader at the end, `[R]`."""
    return run.curves["leader_bound"][-1, :, -1] / regret(run, "leader")[-1, :, -1]


def regret_panel(ax, run, group: int) -> None:
    """Regret of a group against its rounds on logarithmic axes: the leader, one leader for all, and the bounds."""
    x = run.curves["rounds"][..., group].mean(axis=1)
    for kind in ("single", "leader", "learner"):
        values = regret(run, kind)[..., group]
        style.curve(ax, x, values, _LOOKS[kind], count=True, linewidth=1.1)
    total = (run.curves["leader_bound"] + run.curves[f"meta_bound/{THEOREM}"])[..., group].mean(axis=1)
    style.reference(ax, x, total, "bound on the learner (T5 + T1)", linewidth=1.0)
    meta = run.curves[f"meta_bound/{THEOREM}"][..., group].mean(axis=1)
    style.reference(ax, x, meta, "its aggregator's part (T1)", linestyle=":", linewidth=1.0)
    _rate_axes(ax, x)
    ax.set_title(f"{run.axes['group'][group]} ({x[-1]:,.0f} rounds)")


def groups_panel(ax, run) -> None:
    """Regret per round of every group at the end: learner, its own leader, one leader, uniform; mean and interval."""
    from experiments.lib.tables import measured

    names = run.axes["group"]
    place = np.arange(len(names))
    rounds = run.curves["rounds"][-1]
    for shift, kind in zip((-0.27, -0.09, 0.09, 0.27), ("single", "uniform", "leader", "learner"), strict=True):
        found = [measured(regret(run, kind)[-1, :, g] / rounds[:, g]) for g in range(len(names))]
        value = np.array([one.value for one in found])
        spread = np.abs(np.array([(one.value - one.low, one.high - one.value) for one in found]).T)
        look = _LOOKS[kind]
        ax.errorbar(
            place + shift, value, yerr=spread, color=look.color, marker=look.marker, markersize=3.5, linestyle="none",
            elinewidth=0.8, label=f"{look.label} (n = {found[0].n})",
        )  # fmt: skip
    ax.axhline(0, color="0.6", linewidth=0.6, zorder=1)
    for edge in place[:-1] + 0.5:
        ax.axvline(edge, color="0.9", linewidth=0.6, zorder=0)
    ax.set_xticks(place, names)
    ax.set_xlim(-0.5, len(names) - 0.5)
    bottom, top = ax.get_ylim()
    ax.set_ylim(bottom, top + 0.3 * (top - bottom))  # room for the legend
    ax.set_xlabel("group")
    ax.set_ylabel("regret per round (mean edge cost)")


def perturbation_panel(ax, run) -> None:
    """Regret of everybody's leader on logarithmic axes, by perturbation, under T5's bound."""
    x = run.curves["step"]
    for name in run.axes["perturbation"]:
        if name in _PERTURBATION_LOOKS:
            style.curve(ax, x, regret(run, "leader", name)[..., -1], _PERTURBATION_LOOKS[name], linewidth=1.1)
    style.reference(
        ax, x, run.curves["leader_bound"][..., -1].mean(axis=1), "bound with the theorem's (T5)", linewidth=1.0
    )
    _rate_axes(ax, x)
    ax.set_xlabel("rounds")


def _rate_axes(ax, x) -> None:
    """Logarithmic axes, the vertical one linear within 10 of zero: regret may be negative."""
    ax.set_xscale("log")
    ax.set_yscale("symlog", linthresh=10, linscale=0.6)
    ax.axhline(0, color="0.6", linewidth=0.6, zorder=1)
    ax.set_xlim(x[0], x[-1])
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    ax.xaxis.set_minor_locator(NullLocator())


def legend(ax, **where) -> None:
    """A small legend."""
    ax.legend(**({"fontsize": 5.5, "labelspacing": 0.3, "loc": "lower left"} | where))


def quick_look(run) -> None:
    """Everybody's regret, and by perturbation, into the run directory."""
    fig, axes = style.figure("text", 0.45, 1, 2)
    regret_panel(axes[0, 0], run, -1)
    perturbation_panel(axes[0, 1], run)
    for ax in axes.flat:
        ax.set_ylabel("regret (sum of mean edge costs)")
        legend(ax)
    axes[0, 0].set_xlabel("rounds")
    style.stamp(fig, [run]).savefig(run.figure("regret.png"))
