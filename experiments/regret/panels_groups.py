"""Drawings of scaling: loss, bound and wall time against the number of groups."""

import json

import numpy as np
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter, NullLocator

from experiments.lib import style

__all__ = [
    "DATA_SETS", "LOOKS", "at", "everybody_alone", "loss_panel", "microseconds", "quick_look", "regret_panel", "sizes",
    "legend", "methods", "row", "time_panel", "worst_ratio",
]  # fmt: skip

#: Data sets by name: what figures call them.
DATA_SETS = {
    "medical": "medical costs (real)", "adult": "UCI Adult (real)",
    "coded_law": "synthetic law, five attributes",
}  # fmt: skip

LOOKS = {
    "anh": style.LOOKS["anh"]._replace(label="ANH, paper's rule, unclipped"),
    "anh_mean": style.LOOKS["anh_mean"]._replace(label="ANH, clipped", linestyle="-"),
    "aa": style.LOOKS["aa"]._replace(label="AA"),
    "anh_mean_depth": style.Look(r"ANH, prior $2^{-\mathrm{depth}}$", style.PALETTE["purple"], "-", "D"),
    "aa_depth": style.Look(r"AA, prior $2^{-\mathrm{depth}}$", style.PALETTE["orange"], "-", "v"),
    "experts": style.Look("all experts", style.PALETTE["black"], "-", "P"),
}
_MARKED = {"markersize": 3}


def sizes(run) -> np.ndarray:
    """Numbers of groups of the run's families, `[F]`."""
    return np.array([int(size) for size in run.axes["size"]])


def methods(run) -> list[str]:
    """The run's methods, in the order of its stages."""
    return [name for name in run.axes["stage"] if name != "experts"]


def at(run, metric: str, stage: str) -> np.ndarray:
    """A metric of one stage of every family, `[F, R]`; from the first lap, which the others repeat."""
    stages = run.axes["stage"]
    steps = np.arange(len(sizes(run))) * len(stages) + stages.index(stage)
    return run.curves[metric][steps].astype(np.float64)


def everybody_alone(run) -> np.ndarray:
    """Loss of one online ridge regression, `[R]`."""
    return at(run, "loss", "experts")[0]


def microseconds(run, stage: str) -> np.ndarray:
    """Wall time of a stage per round and replicate, of every family, `[F]`; the fastest lap."""
    rows = [json.loads(line) for line in (run.path / "timing.jsonl").read_text().splitlines()]
    seconds = np.array([row["seconds"] for row in rows]).reshape(-1, len(sizes(run)), len(run.axes["stage"]))
    rounds = run.config.run.replicates * run.config.problem.num_rounds
    return 1e6 * seconds.min(axis=0)[:, run.axes["stage"].index(stage)] / rounds


def worst_ratio(run, theorem: str) -> float:
    """Largest measured/bound of the meta part over families, replicates, groups and the methods under "T1" or "T4"."""
    covered = {"T1": ("anh_mean", "anh_mean_depth"), "T4": ("aa", "aa_depth")}[theorem]
    return float(max(at(run, "ratio", name).max() for name in covered if name in methods(run)))


def _count_axis(ax, run) -> None:
    found = sizes(run)
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(FixedLocator(found))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    ax.tick_params(axis="x", labelrotation=45 if len(found) > 4 else 0)
    ax.set_xlabel("groups")


def loss_panel(ax, run) -> None:
    """Loss of everybody over all rounds, mean and interval over replicates; dashed: one online ridge."""
    for method in methods(run):
        how = LOOKS[method]
        style.curve(ax, sizes(run), at(run, "loss", method), how, count=False, marker=how.marker, **_MARKED)
    alone = float(everybody_alone(run).mean())
    ax.axhline(alone, color=style.PALETTE["black"], linestyle=":", label="one online ridge")
    _count_axis(ax, run)


def regret_panel(ax, run) -> None:
    """Regret of everybody against the expert of everybody (solid) and its bound (dashed)."""
    for method in [name for name in methods(run) if at(run, "bound", name).any()]:
        how = LOOKS[method]
        style.curve(ax, sizes(run), at(run, "regret", method), how, label="_", marker=how.marker, **_MARKED)
        ax.plot(sizes(run), at(run, "bound", method).mean(axis=1), color=how.color, linestyle="--", label="_bound")
    ax.plot([], [], color="0.4", linestyle="--", label="bound, by colour")
    found = sizes(run)
    for name, text in (("anh_mean", "T1"), ("aa", "T4: ½ ln G")):
        if name in methods(run):
            top = at(run, "bound", name).mean(axis=1)[-1]
            ax.annotate(text, (found[-1], top), xytext=(-3, 3), textcoords="offset points", ha="right", va="bottom",
                        fontsize=6.5, color=LOOKS[name].color)  # fmt: skip
    ax.axhline(0, color="0.6", linewidth=0.6, zorder=1)
    _count_axis(ax, run)


def time_panel(ax, run) -> None:
    """Wall time per round: of all experts, and of each aggregator."""
    shown = [name for name in ("experts", "anh_mean", "aa") if name in run.axes["stage"]]
    for stage in shown:
        how = LOOKS[stage]
        label = how.label if stage == "experts" else "_"
        ax.plot(sizes(run), microseconds(run, stage), color=how.color, marker=how.marker, label=label, **_MARKED)
    found = sizes(run)
    top = microseconds(run, "experts")
    style.reference(ax, found, top[-1] * 1.5 * found / found[-1], "proportional to groups", linestyle=":")
    ax.set_yscale("log")
    ax.yaxis.set_minor_formatter(NullFormatter())
    _count_axis(ax, run)


def row(axes, run) -> None:
    """The three panels of one data set."""
    for ax, panel in zip(axes, (loss_panel, regret_panel, time_panel), strict=True):
        panel(ax, run)
    rounds, count = run.config.problem.num_rounds, run.config.run.replicates
    axes[0].set_title(f"{DATA_SETS[run.config.problem.data_set]}: {rounds:,} rounds, n = {count}", loc="left")
    axes[0].set_ylabel("squared loss of everybody")
    axes[1].set_ylabel("regret to own expert")
    axes[2].set_ylabel("µs per round, one replicate")


def quick_look(run) -> None:
    """The three panels, into the run directory."""
    fig, axes = style.figure("text", 0.4, 1, 3)
    row(axes[0], run)
    legend(fig, axes[0])
    style.save(style.stamp(fig, [run]), run.figure("groups"))


def legend(fig, axes) -> None:
    """One legend for all panels."""
    handles, labels = [], []
    for ax in axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            if label not in labels:
                handles.append(handle)
                labels.append(label)
    fig.legend(handles, labels, loc="outside lower center", ncols=4)
