"""Drawings of gradient patterns and of distances below the maximum."""

import numpy as np

from experiments.lib import style
from experiments.lib.tables import Measured, measured, without_interval

__all__ = [
    "KINDS", "gap_panel", "largest_share", "missing_patterns", "none_panel", "none", "quick_look", "updated",
    "updated_panel", "worst_share",
]  # fmt: skip

#: Label, unit of the distance, colour.
KINDS = {
    "soft": ("SoftPool", "β", "max − y", "green"),
    "lme": ("log-mean-exp", "1/τ", "max − y", "blue"),
    "power": ("power mean", "p", "log max − log y", "vermilion"),
}
_SIZE_ONES = np.array([bin(code).count("1") for code in range(16)])


def _counts(run) -> np.ndarray:
    """Windows by pattern, over all steps, `[R, pool, code]`."""
    shape = (run.config.run.replicates, len(run.axes["pool"]), 16)
    return run.curves["code"].sum(axis=0).reshape(shape)


def updated(run) -> np.ndarray:
    """Mean number of elements with a gradient, `[R, pool]`."""
    counts = _counts(run)
    return counts @ _SIZE_ONES / counts.sum(axis=2)


def none(run, pool: str) -> Measured:
    """Share of windows without any gradient."""
    counts = _counts(run)[:, run.axes["pool"].index(pool)]
    return measured(counts[:, 0] / counts.sum(axis=1))


def missing_patterns(run, expected: dict[str, int]) -> Measured:
    """Patterns seen too few or too many, over all pools of `expected`."""
    seen = (_counts(run).sum(axis=0) > 0).sum(axis=1)
    off = [abs(int(seen[run.axes["pool"].index(pool)]) - count) for pool, count in expected.items()]
    return without_interval(sum(off), len(expected))


def _gap(run, kind: str) -> np.ndarray:
    """Largest distance over all windows, `[size, sharpness]`."""
    shape = (len(run.axes["size"]), len(run.axes["sharpness"]))
    return run.curves[f"gap/{kind}"].max(axis=(0, 1)).reshape(shape)


def largest_share(run, kind: str) -> Measured:
    """The largest distance of all windows, as a share of its bound; at most 1."""
    return without_interval((_gap(run, kind) / run.results[f"bound/{kind}"]).max(), run.config.run.replicates)


def worst_share(run, kind: str) -> Measured:
    """The smallest share of the bound that the theorem's own window reaches, over sizes and sharpness."""
    return without_interval((run.results[f"worst/{kind}"] / run.results[f"bound/{kind}"]).min())


def updated_panel(ax, run) -> None:
    """Elements that get a gradient, a bar per pool."""
    found = updated(run)
    names = [name.replace("poset ", "") for name in run.axes["pool"]]
    colors = [style.PALETTE["sky" if name.isdigit() else "grey"] for name in names]
    half = np.array([measured(column).high for column in found.T]) - found.mean(axis=0)
    ax.bar(names, found.mean(axis=0), yerr=half, color=colors, width=0.7, error_kw={"linewidth": 0.8})
    ax.tick_params(axis="x", labelsize=6)
    ax.grid(visible=False, axis="x")
    ax.set(xlabel="poset, or pool", ylabel="updated elements of 4")


def none_panel(ax, run) -> None:
    """Windows that get none, against the number of patterns, a point per poset."""
    counts = _counts(run)
    share = (counts[..., 0] / counts.sum(axis=2)).mean(axis=0)
    patterns = (counts.sum(axis=0) > 0).sum(axis=1)
    for name, x, y in zip(run.axes["pool"], patterns, share, strict=True):
        poset = name.startswith("poset")
        ax.scatter(x, y, color=style.PALETTE["sky" if poset else "grey"], s=14, label="_" + name)
        text = name.replace("poset ", "")
        ax.annotate(text, (x, y), xytext=(2, 2), textcoords="offset points", fontsize=5)
    ax.set(xlabel="gradient patterns seen", ylabel="windows without gradient")


def gap_panel(ax, run, kind: str) -> None:
    """Largest distance below the maximum against the sharpness: bounds as lines, random windows as points."""
    name, symbol, distance, color = KINDS[kind]
    sharpness = np.array([float(value) for value in run.axes["sharpness"]])
    for i, (size, marker) in enumerate(zip(run.axes["size"], "os^v", strict=False)):
        style.reference(ax, sharpness, run.results[f"bound/{kind}"][i], "bound" if i == 0 else "_bound")
        points = {"linestyle": "", "markersize": 4, "color": style.PALETTE[color]}
        ax.plot(sharpness, _gap(run, kind)[i], marker=marker, label=f"n = {size}, random", **points)
        worst = run.results[f"worst/{kind}"][i]
        ax.plot(sharpness, worst, "x", color="k", markersize=4, label="_" if i else "the theorem's window")
    ax.set(xscale="log", yscale="log", xlabel=f"{symbol} of {name}", ylabel=f"largest {distance}")


def quick_look(run) -> None:
    """All panels, into the run directory."""
    fig, axes = style.figure("text", 0.75, 2, 3)
    updated_panel(axes[0, 0], run)
    none_panel(axes[0, 1], run)
    axes[0, 2].set_visible(False)
    for ax, kind in zip(axes[1], KINDS, strict=True):
        gap_panel(ax, run, kind)
    axes[1, 0].legend(fontsize=5)
    style.save(style.stamp(fig, [run]), run.figure("windows"))
