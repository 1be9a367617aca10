"""Drawings of regret: courses against ln n, and measured growth over that of the theory."""

import numpy as np

from experiments.balancing import panels_rules
from experiments.lib import style
from experiments.lib.tables import Measured, measured, without_interval

__all__ = [
    "claims", "course_panel", "expansion", "growth", "growth_panel", "logarithm_panel", "quick_look",
    "title",
]  # fmt: skip

#: Growth is measured from this share of the run on.
_FROM = 1 / 8
#: Of families, in the order of the runs.
_HUES = ("blue", "vermilion", "green", "purple")


def title(run) -> str:
    """What the run is about."""
    asked = run.config.problem
    return f"{asked.kind}, E = {asked.experts}, K = {asked.top_k}, T = {asked.tokens}"


def growth(run, at: int, of: str = "theory") -> Measured:
    """Growth of a row's regret over the last seven eighths of the run, over that of `theory` or `forecast`."""
    first = int(_FROM * len(run.curves["step"])) - 1
    predicted = run.results[of][at, -1] - run.results[of][at, first]
    return measured((run.curves["regret"][-1, :, at] - run.curves["regret"][first, :, at]) / predicted)


def expansion(run) -> Measured:
    """f - f* over its second-order expansion, ratio of means over the last seven eighths of the chunks; of the row that
    is farthest from 1, "none" apart."""
    first = int(_FROM * len(run.curves["step"]))
    ratio = [
        run.curves["exact"][first:, :, at].mean() / run.curves["quadratic"][first:, :, at].mean()
        for at, row in panels_rules.places(run)
        if row != "none"
    ]
    return without_interval(max(ratio, key=lambda x: abs(x - 1)), run.config.run.replicates)


def claims(run) -> dict[str, Measured]:
    """Growth of every row over the theory's, by "<family>/<row>", and `expansion`."""
    kind = run.config.problem.kind
    found = {f"{kind}/{row}": growth(run, at) for at, row in panels_rules.places(run)}
    return found | {f"expansion/{kind}": expansion(run)}


def course_panel(ax, run) -> None:
    """Mean regret with 95 % intervals against n, and its forecast, dashed."""
    seen = set()
    for at, row in panels_rules.places(run):
        how = panels_rules.look(row)
        color = style.PALETTE["black"] if how.label in seen else how.color
        seen.add(how.label)
        line = {"label": panels_rules.label(run, row, "/µ"), "color": color, "linestyle": "-"}
        style.curve(ax, run.curves["step"], run.curves["regret"][..., at], how, count=False, **line)
        forecast = run.results["forecast"][at]
        ax.plot(run.curves["step"], forecast, color=color, linestyle="--", linewidth=0.6, label="_forecast")
    ax.set(xscale="log", yscale="log", xlabel="updates n", ylabel="regret, score units", title=title(run))


def logarithm_panel(ax, runs, row: str) -> None:
    """Regret since an eighth of the run, in units of K (1 - K / E) / (2 mu T), against that of ln(n + n0): a line of
    slope one for steps of 1 / (mu n) in a location family."""
    from research.balancing import regret_bounds

    for run, hue in zip(runs, _HUES, strict=False):
        asked, at = run.config.problem, run.config.algo.rows.index(row)
        first = int(_FROM * len(run.curves["step"])) - 1
        unit = regret_bounds.location_family_slope(
            asked.experts, asked.top_k, float(run.results["modulus"]), asked.tokens
        )
        since = (run.curves["regret"][first:, :, at] - run.curves["regret"][first, :, at][None]) / unit
        shifted = run.curves["step"][first:] + run.config.algo.offset
        along = np.log(shifted / shifted[0])
        style.curve(ax, along, since, style.Look(asked.kind, style.PALETTE[hue]), count=False)
    style.reference(ax, [0, along[-1]], [0, along[-1]], "theory")
    ax.set(xlabel="growth of ln(n + n₀)", ylabel="growth of regret, units of theory", title="steps of 1/µn")


def growth_panel(ax, runs) -> None:
    """Measured over predicted growth of every row and family, with 95 % intervals; the shade is 15 %."""
    width = 0.8 / len(runs)
    rows = runs[0].config.algo.rows
    for place, (run, hue) in enumerate(zip(runs, _HUES, strict=False)):
        found = [growth(run, at) for at in range(len(rows))]
        x = np.arange(len(rows)) + (place - (len(runs) - 1) / 2) * width
        value, low, high = (np.array([getattr(one, name) for one in found]) for name in ("value", "low", "high"))
        ax.errorbar(x, value, np.abs(np.array([value - low, high - value])), fmt="o", markersize=2.5, linewidth=0.8,
                    color=style.PALETTE[hue], label=f"{run.config.problem.kind} (n = {found[0].n})")  # fmt: skip
    ax.axhspan(0.85, 1.15, color=style.PALETTE["grey"], alpha=0.15, linewidth=0)
    style.reference(ax, [-0.5, len(rows) - 0.5], [1, 1], "theory")
    labels = [panels_rules.label(runs[0], row, "/µ").replace("proportional, ε/", "ε/") for row in rows]
    ax.set_xticks(range(len(rows)), labels, fontsize=6, rotation=30, ha="right", rotation_mode="anchor")
    ax.set(ylabel="growth of regret / theory", ylim=(0.5, 1.5))
    ax.grid(visible=False, axis="x")


def quick_look(run) -> None:
    """The courses, into the run directory."""
    fig, ax = style.figure("column", 0.9)
    course_panel(ax, run)
    ax.legend(fontsize=6)
    style.save(style.stamp(fig, [run]), run.figure("regret"))
