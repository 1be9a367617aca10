"""Drawings of bounds: measured against allowed, how close the two come, and both as the rounds go by."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from experiments.lib import style
from experiments.regret import panels_numbers as numbers

__all__ = [
    "CLOUDS", "DATA_METHODS", "THEOREMS", "curves_panel", "data_ratios", "data_table", "instance_ratio", "quick_look",
    "ratio_panel", "scatter_panel", "worst_group",
]  # fmt: skip

#: What a theorem is called in figures, and the metrics of the instances that it speaks of.
THEOREMS = {
    "T1  ANH in the group learner": ("meta/anh_mean", "meta/anh_expected"),
    "T1  ANH, confidence-rated": ("meta/confident",),
    "T1  ANH, mixtures of experts": ("meta/confident_mixture",),
    "T2  ridge experts": ("expert/anh_mean", "expert/anh_expected", "expert/aa", "expert/ewa"),
    "T2  VAW experts": ("expert/vaw",),
    "T3  group regret, ANH": ("total/anh_mean", "total/anh_expected"),
    "T4  specialist AA": ("meta/aa", "meta/aa_opinions"),
    "T4  specialist EWA": ("meta/ewa", "meta/ewa_opinions"),
    "T2+T4  group regret, AA": ("total/aa",),
    "T2+T4  group regret, EWA": ("total/ewa",),
    "T6  Blum–Lykouris": ("meta/blum_lykouris",),
    "T6  multiplicative weights": ("meta/multiplicative_weights",),
}

#: Methods of the comparison (`experiments.regret.protocol`) that stand for a theorem on data.
DATA_METHODS = ("anh_mean", "aa")

_LOOKS = {
    "ridge": style.Look("ridge experts (T2)", style.PALETTE["blue"], "-", "o"),
    "vaw": style.Look("VAW experts (T2)", style.PALETTE["green"], "-", "s"),
    "anh": style.Look("ANH", style.PALETTE["blue"], "-", "o"),
    "aa": style.Look("AA", style.PALETTE["vermilion"], "-", "^"),
    "ewa": style.Look("EWA", style.PALETTE["orange"], "-", "v"),
    "blum_lykouris": style.Look("Blum–Lykouris", style.PALETTE["purple"], "-", "p"),
    "multiplicative_weights": style.Look("mult. weights", style.PALETTE["green"], "-", "s"),
}

#: The clouds of each part's panel: look, theorem, and the metrics that it holds.
CLOUDS = {
    "expert": (("ridge", "", THEOREMS["T2  ridge experts"]), ("vaw", "", THEOREMS["T2  VAW experts"])),
    "meta": (
        ("anh", " (T1)", THEOREMS["T1  ANH in the group learner"] + THEOREMS["T1  ANH, confidence-rated"]),
        ("aa", " (T4)", THEOREMS["T4  specialist AA"]),
        ("ewa", " (T4)", THEOREMS["T4  specialist EWA"]),
        ("blum_lykouris", " (T6)", THEOREMS["T6  Blum–Lykouris"]),
        ("multiplicative_weights", " (T6)", THEOREMS["T6  multiplicative weights"]),
    ),
    "total": (
        ("anh", " (T3)", THEOREMS["T3  group regret, ANH"]),
        ("aa", " (T2+T4)", THEOREMS["T2+T4  group regret, AA"]),
        ("ewa", " (T2+T4)", THEOREMS["T2+T4  group regret, EWA"]),
    ),
}  # fmt: skip

_TITLES = {
    "expert": "experts: own expert − hindsight",
    "meta": "aggregators: learner − own expert",
    "total": "regret of a group: the sum",
}  # fmt: skip

_FLOOR = 1e-3  # regret below it, negative too, is drawn here


def instance_ratio(run, names: Sequence[str]) -> float:
    """Largest measured/bound over the metrics, all instances, entries and rounds."""
    return float(max(run.curves[name][-1].max() for name in names))


def _tightest(run, names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """After the last round, of every instance the entry that comes closest to its bound: measured, bound."""
    xs, ys = [], []
    for name in names:
        measured, bound = run.results[f"measured/{name}"], run.results[f"bound/{name}"]
        ratio = np.where(bound > _FLOOR, measured / np.maximum(bound, _FLOOR), -np.inf)
        entry = ratio.argmax(axis=1)[:, None]
        kept = np.take_along_axis(ratio, entry, axis=1)[:, 0] > -np.inf
        xs.append(np.take_along_axis(measured, entry, axis=1)[kept, 0])
        ys.append(np.take_along_axis(bound, entry, axis=1)[kept, 0])
    return np.concatenate(xs), np.concatenate(ys)


def data_table(run, part: str, method: str) -> tuple[np.ndarray, np.ndarray]:
    """At the end of a data run, measured and bound of every group, means over shuffles, `[G]` each."""
    found = getattr(numbers.measured_parts(run, method), part), getattr(numbers.bounds(run, method), part)
    return tuple(values[-1].mean(axis=0) for values in found)


def data_ratios(run) -> dict[str, float]:
    """Largest measured/bound of every part over all logged points, shuffles and groups of a data run."""
    found = {"expert": numbers.expert_ratio(run)}
    for method in numbers.covered_methods(run):
        found[f"meta/{method}"] = numbers.meta_ratio(run, method)
        found[f"total/{method}"] = numbers.total_ratio(run, method)
    return found


def scatter_panel(ax, part: str, run, data: Mapping[str, object] | None = None) -> None:
    """Bound against measured regret, a point per instance; the groups of the data sets as large points.

    Args:
      part: "expert", "meta" or "total".
      run: of the instances.
      data: name -> run of the comparison.
    """
    top = 1.0
    for key, theorem, names in CLOUDS[part]:
        how = _LOOKS[key]
        x, y = _tightest(run, names)
        ax.scatter(np.maximum(x, _FLOOR), y, s=5, marker=how.marker, color=how.color, alpha=0.35, linewidths=0,
                   label=f"{how.label}{theorem}", rasterized=True)  # fmt: skip
        top = max(top, y.max())
    for name, source in (data or {}).items():
        for method in DATA_METHODS if part != "expert" else DATA_METHODS[:1]:
            x, y = data_table(source, part, method)
            how = _LOOKS["ridge" if part == "expert" else method.removesuffix("_mean")]
            ax.scatter(np.maximum(x, _FLOOR), y, s=22, marker=how.marker, color=how.color, edgecolors="black",
                       linewidths=0.7, zorder=4, label=f"{name}, {how.label.split(' (')[0]}")  # fmt: skip
            top = max(top, y.max())
    line = np.array([_FLOOR, 3 * top])
    ax.plot(line, line, color="black", linewidth=0.8, zorder=3, label="_measured = bound")
    ax.fill_between(line, line, _FLOOR, color="0.94", linewidth=0, zorder=0)
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlim(_FLOOR * 0.7, 3 * top)
    ax.set_ylim(_FLOOR * 0.7, 3 * top)
    ax.set_title(_TITLES[part])
    ax.set_xlabel("measured (≤ 0.001: at the edge)")
    # Nothing can lie below the line, so that is where the legend goes.
    ax.legend(loc="lower right", fontsize=5.5, handletextpad=0.1, borderpad=0.2, labelspacing=0.2)


def worst_group(run, part: str, method: str) -> int:
    """The group with the largest measured value at the end, mean over shuffles."""
    return int(data_table(run, part, method)[0].argmax())


def curves_panel(ax, run, part: str, methods: Sequence[str] = ("anh_clip", "aa")) -> int:
    """Measured and live certificate of the group in which the first method does worst; returns the group."""
    group = worst_group(run, part, methods[0])
    rounds = numbers.at_hindsight(run, "rounds")
    x = rounds[..., group].mean(axis=1)
    if part == "meta":
        ax.plot(x, _before_data(rounds)[:, group], color=_LOOKS["anh"].color, linestyle=":", label="ANH, √T a priori")
    for method in methods:
        how = _LOOKS[method.partition("_")[0]]
        bound = getattr(numbers.bounds(run, method), part)[..., group]
        ax.plot(x, bound.mean(axis=1), color=how.color, linestyle="--", label=f"{how.label}, certificate")
        measured = getattr(numbers.measured_parts(run, method), part)[..., group]
        style.curve(ax, x, measured, how, label=f"{how.label}, measured", count=False)
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_ylim(top=(8 if part == "meta" else 2) * ax.get_ylim()[1])
    ax.set_xlim(x[0], x[-1])
    ax.xaxis.set_major_locator(FixedLocator([t for t in (10, 20, 50, 100, 200, 500, 1000) if x[0] <= t <= x[-1]]))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xlabel(f"rounds of the group {run.axes['group'][group]}")
    return group


def _before_data(rounds: np.ndarray) -> np.ndarray:
    """T1 as it is known beforehand, `[K, G]`: C_g <= T_g, and B <= 5/2 + 3/2 ln(1 + T) (`luo:15`)."""
    mean = rounds.mean(axis=1)
    budget = np.log(2.5 + 1.5 * np.log1p(mean.max(axis=1, keepdims=True)))
    return np.sqrt(3 * mean * (np.log(mean.shape[1]) + budget))


def ratio_panel(ax, run, data: Mapping[str, object] | None = None) -> None:
    """How close every theorem comes to being violated: the largest measured/bound, by theorem."""
    labels = list(THEOREMS)
    ratios = [instance_ratio(run, names) for names in THEOREMS.values()]
    places = np.arange(len(labels))[::-1]
    ax.barh(places, ratios, height=0.84, color="0.84", label="instances")
    for place, label, ratio in zip(places, labels, ratios, strict=True):
        ax.text(0.02, place + 0.06, label, va="center", fontsize=6)
        ax.text(1.03, place, f"{ratio:.2f}", va="center", fontsize=6)
    positions = {
        "expert": "T2  ridge experts", "meta/anh_mean": "T1  ANH in the group learner", "meta/aa": "T4  specialist AA",
        "meta/ewa": "T4  specialist EWA", "total/anh_mean": "T3  group regret, ANH",
        "total/aa": "T2+T4  group regret, AA", "total/ewa": "T2+T4  group regret, EWA",
    }  # fmt: skip
    found = [data_ratios(source) for source in (data or {}).values()]
    for key, row in positions.items():
        largest = max((ratios[key] for ratios in found if key in ratios), default=0)
        ax.barh(places[labels.index(row)] - 0.33, largest, height=0.18, color=style.PALETTE["vermilion"])
    told = f"{run.config.run.replicates:,} instances"
    ax.set_title(f"{told} (grey), data (red)" if data else told)
    ax.axvline(1, color="black", linewidth=0.8)
    ax.set_xlim(0, 1.2)
    ax.set_xticks([0, 0.25, 0.5, 0.75, 1])
    ax.set_yticks([])
    ax.set_xlabel("largest measured / bound")


def quick_look(run) -> None:
    """Scatter of the three parts and the tightest ratios, into the run directory."""
    fig, axes = style.figure("text", 0.75, 2, 2)
    for ax, part in zip(axes.flat, CLOUDS, strict=False):
        scatter_panel(ax, part, run)
        ax.set_ylabel("bound")
    ratio_panel(axes[1, 1], run)
    style.save(style.stamp(fig, [run]), run.figure("bounds"))
