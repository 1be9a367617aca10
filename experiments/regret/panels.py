"""Drawings of the comparison: regret of each group with its bound, losses under drift. Numbers: `panels_numbers`."""

from collections.abc import Sequence

import numpy as np
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from experiments.lib import style
from experiments.regret import panels_numbers as numbers

__all__ = [
    "BOUNDED", "LOOKS", "SHOWN", "bound_scale", "drift_look", "drift_panel", "fraction_panel", "interval_note",
    "legend", "name_lines", "phases", "quick_look", "regret_grid", "regret_panel",
    "regret_rows",
]  # fmt: skip

_OUTSIDE = "outside the theorem's assumptions"

#: The methods as this family's figures name them; colours are the project's.
LOOKS = style.LOOKS | {
    "baseline": style.LOOKS["baseline"]._replace(label="one online ridge (paper's baseline)"),
    "baseline_clip": style.LOOKS["baseline"]._replace(label="one online ridge, clipped", linestyle=":"),
    "anh": style.LOOKS["anh"]._replace(label=f"ANH, unclipped (paper; {_OUTSIDE})"),
    "anh_clip": style.LOOKS["anh"]._replace(label="ANH, clipped", linestyle=":"),
    "anh_mean": style.LOOKS["anh_mean"]._replace(label="ANH, mean prediction, clipped (our default)"),
    "anh_mean_unclipped": style.LOOKS["anh_mean"]._replace(label="ANH, mean prediction, unclipped", linestyle=":"),
    "aa": style.LOOKS["aa"]._replace(label="specialist AA, clipped (ours)"),
}

#: The methods of a regret panel, from back to front.
SHOWN = ("baseline", "anh", "anh_mean", "aa")
#: The bounds drawn beside them.
BOUNDED = ("anh_mean", "aa")

_NEAR = 2.5  # times the curves: up to there a linear axis shows a bound and the curves


def _compact(value: float, _=None) -> str:
    """Tick labels: 500, 2k, 100k."""
    return f"{value / 1000:g}k" if abs(value) >= 1000 else f"{value:g}"


def bound_scale(ax, low: float, high: float, bound: float, share: float = 0.3) -> None:
    """A vertical axis that is linear from `low` to `high`, where the curves are, and logarithmic from there to the last
    and largest `bound`, which is written at its right end.

    The upper part takes `share` of the height; a dotted line marks the change. A bound that is near the curves leaves
    the whole axis linear.
    """
    near = bound < _NEAR * high
    text = f"{bound:,.0f}" if bound >= 100 else f"{bound:.3g}"
    ax.annotate(
        text, (1, bound), (-1, 1 if near else -3), xycoords=("axes fraction", "data"), textcoords="offset points",
        ha="right", va="bottom" if near else "top", fontsize=6, color="0.4",
    )  # fmt: skip
    if near:
        ax.set_ylim(low, 1.15 * bound)
        return
    top = 1.3 * bound
    high = max(high, 1e-6)
    factor = share / (1 - share) * (high - low) / np.log(top / high)

    def forward(y):
        return np.where(y <= high, y, high + factor * np.log(np.maximum(y, high) / high))

    def inverse(z):
        return np.where(z <= high, z, high * np.exp(np.maximum(z - high, 0) / factor))

    ax.set_yscale("function", functions=(forward, inverse))
    ax.set_ylim(low, top)
    linear = [t for t in MaxNLocator(4, steps=[1, 2, 5, 10]).tick_values(low, high) if low <= t <= high]
    powers = [10.0**k for k in range(-3, 7) if 2.5 * high < 10.0**k <= top]
    ax.yaxis.set_major_locator(FixedLocator(linear + powers))
    ax.yaxis.set_minor_locator(NullLocator())
    ax.yaxis.set_major_formatter(FuncFormatter(_compact))
    ax.axhline(high, color="0.5", linestyle=":", linewidth=0.6, zorder=1)


def regret_panel(ax, run, group: int, methods: Sequence[str] = SHOWN, bounded: Sequence[str] = BOUNDED) -> None:
    """Regret of one group against the rounds of that group, mean and interval over shuffles, and the bounds above."""
    x = numbers.at_hindsight(run, "rounds")[..., group].mean(axis=1)
    ax.axhline(0, color="0.6", linewidth=0.6, zorder=1)
    for method in methods:
        style.curve(ax, x, numbers.regret(run, method)[..., group], LOOKS[method], count=False, linewidth=1.0)
    inside = np.concatenate([line.get_ydata() for line in ax.lines])
    tops = []
    for method in bounded:
        bound = numbers.bounds(run, method).total[..., group].mean(axis=1)
        _bound_line(ax, x, bound, method)
        tops.append(bound.max())
    margin = 0.06 * np.ptp(inside)
    low, high = inside.min() - margin, inside.max() + margin
    if tops:
        bound_scale(ax, low, high, max(tops))
    ax.set_title(run.axes["group"][group], pad=3, fontsize=7)
    ax.set_xlim(0, x[-1])
    ax.xaxis.set_major_locator(MaxNLocator(3, steps=[1, 2, 5, 10]))
    ax.xaxis.set_major_formatter(FuncFormatter(_compact))


def _bound_line(ax, x, bound, method: str) -> None:
    """The two differ in the aggregator's part only, which is small; the dots lie on the dashes."""
    label, color, linestyle = {
        "anh_mean": ("bound on ANH, clipped", style.LOOKS["bound"].color, "--"),
        "aa": ("bound on specialist AA", LOOKS["aa"].color, ":"),
    }[method]
    style.reference(ax, x, bound, label, color=color, linestyle=linestyle, linewidth=1.0)


def legend(fig, ax, run, *, columns: int = 2, **where) -> None:
    """One legend for all panels, with what the lines and bands are."""
    handles, labels = ax.get_legend_handles_labels()
    note = f"{interval_note(run)} Above a dotted line the axis is logarithmic."
    fig.legend(
        handles, labels, ncols=columns, title=note, title_fontsize=7,
        **({"loc": "outside lower center"} | where),
    )  # fmt: skip


def interval_note(run) -> str:
    """How many shuffles, and which interval."""
    count = run.config.run.replicates
    return f"Mean and 95 % t-interval over n = {count} shuffles." if count > 1 else "One shuffle."


def regret_grid(run, columns: int, *, row_height: float = 1.25):
    """A panel per group, the legend below."""
    groups = range(len(run.axes["group"]))
    fig, axes = _grid(-(-len(groups) // columns), columns, row_height)
    for group, ax in zip(groups, axes.flat, strict=False):
        regret_panel(ax, run, group)
    for ax in axes.flat[len(groups) :]:
        ax.set_axis_off()
    for ax in axes[-1, : len(groups) - (len(axes) - 1) * columns]:
        ax.set_xlabel("rounds of the group")
    legend(fig, axes[0, 0], run)
    return fig


def regret_rows(runs, names: Sequence[str], *, row_height: float = 1.3):
    """A row of panels per run, a column per group, the legend below."""
    groups = runs[0].axes["group"]
    fig, axes = _grid(len(runs), len(groups), row_height)
    for run, name, row in zip(runs, names, axes, strict=True):
        for group, ax in enumerate(row):
            regret_panel(ax, run, group)
            ax.tick_params(labelsize=6)
            if run is not runs[0]:
                ax.set_title("")
        row[0].set_ylabel(f"label: {name}")
    for ax in axes[-1]:
        ax.set_xlabel("group's rounds", fontsize=7)
    legend(fig, axes[0, 0], runs[0])
    return fig


def _grid(rows: int, columns: int, row_height: float):
    height = rows * row_height + 0.75
    fig, axes = style.figure("text", height / style.WIDTHS["text"], rows, columns)
    fig.supylabel("regret (cumulative squared loss)", fontsize=8)
    return fig, np.atleast_2d(axes)


def fraction_panel(ax, run, method: str, highlighted: dict[str, str], *, marker: str = "") -> None:
    """Regret of all groups against the fraction of their rounds; some groups in colour, the others in grey."""
    values = numbers.regret(run, method)
    share = numbers.at_hindsight(run, "rounds")
    share = (share / share[-1:]).mean(axis=1)
    ax.axhline(0, color="0.6", linewidth=0.6, zorder=1)
    for group, name in enumerate(run.axes["group"]):
        color = highlighted.get(name)
        ax.plot(
            share[:, group], values[..., group].mean(axis=1), color=color or "0.8", linewidth=1.2 if color else 0.7,
            zorder=3 if color else 2, marker=marker if color else "", markevery=0.25, markersize=5, label=name,
        )  # fmt: skip
    ax.set_xlim(0, 1)
    ax.set_xlabel("fraction of the group's rounds")


def name_lines(ax, colors: dict[str, str]) -> None:
    """Writes the labels of the coloured lines at their right ends, moved apart where they would touch."""
    named = sorted((line.get_ydata()[-1], line.get_label()) for line in ax.lines if line.get_label() in colors)
    gap = 0.055 * np.ptp(ax.get_ylim())
    places = [y for y, _ in named]
    for k in range(1, len(places)):
        places[k] = max(places[k], places[k - 1] + gap)
    for place, (y, name) in zip(places, named, strict=True):
        ax.annotate(
            name, (1, y), (1.06, place), textcoords=("data"), color=colors[name], fontsize=7, va="center",
            annotation_clip=False, arrowprops={"arrowstyle": "-", "color": colors[name], "linewidth": 0.5},
        )  # fmt: skip


def drift_panel(
    ax, run, phases: Sequence[str], *, relative: bool = False, methods: Sequence[str] = SHOWN,
    bounded: Sequence[str] = BOUNDED,
) -> None:  # fmt: skip
    """Cumulative loss of everybody against rounds, with the bounds on it.

    Args:
      phases: the groups that come one after the other; their borders are marked.
      relative: show the loss minus that of one online ridge.
    """
    x = run.curves["step"]
    base = run.curves["loss/baseline"][..., -1] if relative else 0.0
    for method in methods[relative:]:
        style.curve(ax, x, run.curves[f"loss/{method}"][..., -1] - base, LOOKS[method], count=False)
    if relative:
        ax.axhline(0, color=LOOKS["baseline"].color, linewidth=1.2, zorder=1)
    inside = np.concatenate([line.get_ydata() for line in ax.lines])
    expert, tops = run.curves["ridge_value"] + run.curves["logdet"], []
    for method in bounded:
        bound = ((expert + run.curves[f"meta_bound/{method}"])[..., -1] - base).mean(axis=1)
        _bound_line(ax, x, bound, method)
        tops.append(bound.max())
    margin = 0.06 * np.ptp(inside)
    bound_scale(ax, inside.min() - margin, inside.max() + margin, max(tops), share=0.25)
    _mark_phases(ax, run, phases)
    ax.set_xlim(0, x[-1])
    ax.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    ax.xaxis.set_major_formatter(FuncFormatter(_compact))


def _mark_phases(ax, run, phases: Sequence[str]) -> None:
    """A vertical line where one group ends and the next begins; the order stands under the axis."""
    sizes = [run.curves["rounds"][-1, :, run.axes["group"].index(name)].mean() for name in phases]
    for end in np.cumsum(sizes)[:-1]:
        ax.axvline(end, color="0.5", linewidth=0.6, linestyle=(0, (1, 2)), zorder=1)
    ax.set_xlabel(f"rounds: {', then '.join(phases)}" if len(phases) == 2 else f"rounds: {', '.join(phases)}")


def phases(run) -> tuple[str, ...]:
    """The groups that a run of `experiments.regret.sorted` shows one after the other."""
    problem = run.config.problem
    if problem.data_set == "synthetic":
        return ("red", "green")
    return ("old", "middle", "young") if problem.descending else ("young", "middle", "old")


def quick_look(run) -> None:
    """The regret of every group, into the run directory."""
    style.stamp(regret_grid(run, 4), [run]).savefig(run.figure("regret.png"))


def drift_look(run) -> None:
    """The loss of everybody as the order drifts, into the run directory."""
    fig, ax = style.figure("text", 0.5)
    drift_panel(ax, run, phases(run))
    ax.set_ylabel("cumulative squared loss of everybody")
    legend(fig, ax, run)
    style.stamp(fig, [run]).savefig(run.figure("loss.png"))
