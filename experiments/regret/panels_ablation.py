"""Drawings and tables of the ablation: what every choice costs, and what the simpler learners cost."""

from typing import NamedTuple

import numpy as np
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from experiments.lib import style, tables
from experiments.lib.tables import Measured
from experiments.regret.variants import DEFAULT, swept

__all__ = [
    "ROWS", "Row", "difference", "difference_panel", "loss", "quick_look", "regularization_panel", "table",
    "worst_panel", "worst_regret",
]  # fmt: skip


class Row(NamedTuple):
    """A variant as figures and tables show it."""

    variant: str
    choice: str  # what was changed
    label: str


ROWS = (
    Row(DEFAULT, "default", "ANH, mean prediction, clipped, ridge, λ = 1"),
    Row("aa", "aggregator", "specialist AA"),
    Row("ewa", "aggregator", "specialist EWA"),
    Row("expected", "combination", "expected loss of a drawn expert"),
    Row("unclipped", "clipping", "no clipping"),
    Row("paper", "clipping", "paper: expected loss, no clipping"),
    Row(swept("anh", 0.01), "experts", "λ = 0.01"),
    Row(swept("anh", 0.1), "experts", "λ = 0.1"),
    Row(swept("anh", 10.0), "experts", "λ = 10"),
    Row(swept("anh", 100.0), "experts", "λ = 100"),
    Row("vaw", "experts", "VAW forecasts"),
    Row("without_always_on", "groups", "without the group of everybody"),
    Row("smallest_group", "no aggregator", "expert of the smallest group"),
    Row("uniform_average", "no aggregator", "average of the experts awake"),
    Row("online_ridge_clipped", "no groups", "one online ridge, clipped"),
    Row("online_ridge", "no groups", "one online ridge, paper's baseline"),
    Row("gradient_descent", "no groups", "gradient descent, best of four steps"),
)

_KINDS = {
    "anh": style.LOOKS["anh"]._replace(label="ANH over 12 groups"),
    "aa": style.LOOKS["aa"]._replace(label="AA over 12 groups"),
    "ridge": style.LOOKS["baseline"]._replace(label="one online ridge", marker="s"),
}
_LINEAR = 0.1  # differences are drawn linearly up to this, logarithmically beyond


def loss(run, variant: str) -> np.ndarray:
    """Loss over all rounds of each group, `[R, G]`."""
    return run.curves[variant][-1].astype(np.float64)


def _everybody(run, variant: str) -> np.ndarray:
    return loss(run, variant)[:, -1]


def difference(run, variant: str) -> Measured:
    """Loss of everybody minus that of the default, paired by shuffle."""
    return tables.measured(_everybody(run, variant) - _everybody(run, DEFAULT))


def worst_regret(run, variant: str) -> Measured:
    """The largest regret of any group."""
    return tables.measured((loss(run, variant) - run.results["hindsight"]).max(axis=1))


def _worst_group(run, variant: str) -> str:
    mean = (loss(run, variant) - run.results["hindsight"]).mean(axis=0)
    return run.axes["group"][int(mean.argmax())]


def table(run) -> tables.Table:
    """A row per variant: loss of everybody, paired difference to the default, largest regret of a group and whose."""
    rows = [
        (row.choice, row.label, tables.measured(_everybody(run, row.variant)), difference(run, row.variant),
         worst_regret(run, row.variant), _worst_group(run, row.variant))
        for row in ROWS
    ]  # fmt: skip
    count = run.config.run.replicates
    caption = (
        f"Medical costs, {count} shuffles: one choice of the group learner changed at a time. Squared loss over all "
        "1,338 rounds; differences to the default are paired; mean and half width of Student's 95 % interval."
    )
    header = ("choice", "variant", "loss of everybody", "difference", "worst regret of a group", "worst group")
    return tables.Table(header, tuple(rows), caption)


def _signed(value: float) -> str:
    return f"{value:+.2f}".replace("-", "−")


def difference_panel(ax, run) -> None:
    """Paired differences of the loss of everybody to the default: better to the left, worse to the right."""
    rows = ROWS[1:]
    ax.axvline(0, color="0.4", linewidth=0.8)
    for place, row in zip(range(len(rows))[::-1], rows, strict=True):
        found = difference(run, row.variant)
        worse, better = found.low > 0, found.high < 0
        color = style.PALETTE["vermilion"] if worse else style.PALETTE["green"] if better else style.PALETTE["grey"]
        marker = ">" if worse else "<" if better else "o"
        if np.isfinite(found.low):
            ax.plot([found.low, found.high], [place, place], color=color, linewidth=1.4, label="_interval")
        ax.plot([found.value], [place], marker=marker, color=color, markersize=4, label=row.label)
        ax.text(1.02, place, _signed(found.value), transform=ax.get_yaxis_transform(), va="center", fontsize=6)
    ax.set_xscale("symlog", linthresh=_LINEAR, linscale=0.6)
    ticks = [-0.1, 0, 0.1, 1, 10]
    ax.xaxis.set_major_locator(FixedLocator(ticks))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}".replace("-", "−")))
    ax.set_xlim(-0.3, 20)
    ax.set_yticks(range(len(rows))[::-1], [f"{row.label}" for row in rows])
    ax.set_ylim(-0.6, len(rows) - 0.4)
    ax.tick_params(axis="y", length=0, labelsize=6.5)
    _separate(ax, rows)


def worst_panel(ax, run) -> None:
    """The largest regret of any group, variant by variant; dashed: the default's."""
    rows = ROWS[1:]
    for place, row in zip(range(len(rows))[::-1], rows, strict=True):
        found = worst_regret(run, row.variant)
        if np.isfinite(found.low):
            ends = np.clip([found.low, found.high], 0.05, None)
            ax.plot(ends, [place, place], color=style.PALETTE["blue"], linewidth=1.4, label="_interval")
        ax.plot([found.value], [place], marker="o", color=style.PALETTE["blue"], markersize=3.5, label=row.label)
    ax.axvline(worst_regret(run, DEFAULT).value, color="0.4", linewidth=0.8, linestyle="--")
    ax.set_xscale("log")
    ax.set_xticks([1, 2, 5, 10], ["1", "2", "5", "10"])
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_yticks(range(len(rows)), [])
    ax.set_ylim(-0.6, len(rows) - 0.4)
    ax.tick_params(axis="y", length=0)
    _separate(ax, rows)


def _separate(ax, rows) -> None:
    """A thin line where another choice begins."""
    for above, (first, second) in enumerate(zip(rows, rows[1:], strict=False)):
        if first.choice != second.choice:
            ax.axhline(len(rows) - above - 1.5, color="0.8", linewidth=0.5, zorder=0)
    ax.grid(axis="y", visible=False)


def regularization_panel(ax, run) -> None:
    """Loss of everybody against lambda, for two aggregators and for one online ridge."""
    grid = np.asarray(run.config.algo.regularization)
    for kind, how in _KINDS.items():
        values = np.stack([_everybody(run, swept(kind, value)) for value in grid])
        style.curve(ax, grid, values, how, count=False, marker=how.marker)
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_yticks([8, 10, 15, 20], ["8", "10", "15", "20"])
    ax.set_ylim(7, 40)
    ax.yaxis.set_minor_locator(NullLocator())
    ax.set_xlabel("λ of the experts")
    ax.set_ylabel("squared loss of everybody")
    ax.legend(loc="upper left")


def quick_look(run) -> None:
    """Differences and worst regrets, into the run directory, with the table."""
    fig, axes = style.figure("text", 0.55, 1, 2, width_ratios=(2, 1))
    difference_panel(axes[0, 0], run)
    worst_panel(axes[0, 1], run)
    axes[0, 0].set_xlabel("loss of everybody minus the default's")
    axes[0, 1].set_xlabel("worst regret of a group")
    style.save(style.stamp(fig, [run]), run.figure("ablation"))
    tables.save(table(run), run.figure("ablation"))
