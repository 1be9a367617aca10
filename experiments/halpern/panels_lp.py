"""Drawings of the linear programs: KKT residual against iterations, iterations against the stated ones, time."""

import json

import numpy as np

from experiments.lib import style
from experiments.lib.tables import Measured, without_interval

__all__ = [
    "STATED", "agreement", "certified_within", "iterations", "iterations_panel", "median_share", "met_share", "name",
    "quick_look", "residual_panel", "seconds", "speedup", "time_panel",
]  # fmt: skip

_HUES = style.PALETTE
VARIANTS = {
    "reflected": style.Look("reflected, restarted", _HUES["blue"], "-", "o"),
    "plain": style.Look("restarted", _HUES["orange"], (0, (5, 1)), "s"),
    "unrestarted": style.Look("reflected, no restarts", _HUES["grey"], (0, (3, 1, 1, 1)), "^"),
}
CLOCKS = {
    "PDHG": style.Look("PDHG", _HUES["blue"], "-", "o"),
    "r2HPDHG": style.Look("r2HPDHG (MPAX)", _HUES["vermilion"], "-", "D"),
    "HiGHS simplex": style.Look("HiGHS simplex", _HUES["black"], (0, (5, 1)), "s"),
    "HiGHS interior point": style.Look("HiGHS interior point", _HUES["grey"], (0, (5, 1)), "v"),
}
#: Iterations to a relative KKT residual of 1e-8 that are stated, by kind and size: reflected, plain.
STATED = {
    ("b_matching", (4, 8, 2)): (70, 150), ("b_matching", (20, 60, 3)): (130, 300),
    ("b_matching", (50, 200, 4)): (320, 580), ("packing", (60, 300)): (14_940, 29_050),
}  # fmt: skip


def _case(run) -> tuple:
    return run.config.problem.kind, tuple(run.config.problem.size)


def name(run) -> str:
    """What a run solves, in a few words."""
    kind, size = _case(run)
    words = {"b_matching": "matching", "packing": "packing", "fluid": "expected matching", "online": "LP-OnOpt"}
    return f"{words[kind]} {size[0]} × {size[1]}"


def iterations(run, variant: str = "reflected") -> np.ndarray:
    """Iterations until each instance met the tolerance, `[R]`; infinite where it did not."""
    met = run.curves[f"residual/{variant}"][-1] <= run.config.algo.tolerance
    return np.where(met, run.curves[f"iterations/{variant}"][-1], np.inf)


def median_share(run) -> Measured:
    """Median of the iterations over the stated ones."""
    found = iterations(run)
    return without_interval(np.median(found) / STATED[_case(run)][0], len(found))


def agreement(run) -> Measured:
    """Largest |c'x - HiGHS's| / (1 + |HiGHS's|) of the instances that met the tolerance; infinite if none did."""
    theirs = run.results["highs"]
    ours, met = run.results["objective"][: len(theirs)], np.isfinite(iterations(run))[: len(theirs)]
    gaps = np.abs(ours - theirs)[met] / (1 + np.abs(theirs[met]))
    return without_interval(float(gaps.max()) if len(gaps) else np.inf, int(met.sum()))


def certified_within(run) -> Measured:
    """Largest relative distance of -c'x from the bounds that the matching family's solver certifies, of the instances
    that met the tolerance."""
    low, high = run.results["certified"]
    value, met = -run.results["objective"][: len(low)], np.isfinite(iterations(run))[: len(low)]
    outside = np.maximum(np.maximum(low - value, value - high), 0) / high
    return without_interval(outside[met].max(), int(met.sum()))


def met_share(run) -> Measured:
    """Share of the instances that met the tolerance."""
    met = np.isfinite(iterations(run))
    return without_interval(met.mean(), len(met))


def seconds(run) -> dict[str, dict[int, float]]:
    """Seconds per program by solver and batch."""
    rows = [json.loads(line)["seconds"] for line in (run.path / "timing.jsonl").read_text().splitlines()]
    found = {}
    for clock, value in zip(run.axes["clock"], rows[run.config.run.num_steps :], strict=True):
        solver, count = clock.rsplit(", ", 1)
        if value > 0:
            found.setdefault(solver, {})[int(count)] = value / int(count)
    return found


def speedup(run, peers: tuple[str, ...]) -> Measured | None:
    """Programs per second of our largest batch over those of the fastest of the peers, at any batch; None: no peer."""
    found = seconds(run)
    theirs = [value for peer in peers for value in found.get(peer, {}).values()]
    if not theirs:
        return None
    count = max(found["PDHG"])
    return without_interval(min(theirs) / found["PDHG"][count], count)


def residual_panel(ax, run) -> None:
    """Median over instances of the KKT residual, and its range."""
    at = run.curves["step"] * run.config.run.stride
    for variant in run.config.algo.variants:
        residual, look = np.maximum(run.curves[f"residual/{variant}"], 1e-16), VARIANTS[variant]
        ax.plot(at, np.median(residual, axis=1), color=look.color, linestyle=look.linestyle, label=look.label)
        ax.fill_between(at, residual.min(axis=1), residual.max(axis=1), color=look.color, alpha=0.15, linewidth=0)
    ax.axhline(run.config.algo.tolerance, color="0.45", linestyle="--", linewidth=0.8)
    ax.set_yscale("log")
    ax.set_ylim(bottom=run.config.algo.tolerance / 30)
    ax.set_xlabel("iterations")
    ax.set_ylabel("relative KKT residual")
    ax.set_title(name(run), fontsize=7)


def iterations_panel(ax, runs) -> None:
    """Iterations of every instance beside the stated ones."""
    for place, run in enumerate(runs):
        for shift, variant in ((-0.15, "reflected"), (0.15, "plain")):
            found, look = iterations(run, variant), VARIANTS[variant]
            spread = np.linspace(-0.08, 0.08, len(found))
            ax.scatter(
                place + shift + spread, np.sort(found), s=5, color=look.color, linewidth=0,
                label=None if place else look.label,
            )  # fmt: skip
            stated = STATED[_case(run)][0 if variant == "reflected" else 1]
            ax.hlines(stated, place + shift - 0.13, place + shift + 0.13, color="black", linewidth=1)
    ax.set_yscale("log")
    ax.set_xticks(range(len(runs)), [name(run).replace(" ", "\n", 1) for run in runs], fontsize=6)
    ax.set_ylabel("iterations to 1e-8")


def time_panel(ax, runs) -> None:
    """Seconds per program against the number of edges, one by one and in the largest batch."""
    sizes = [int(np.prod(run.config.problem.size[1:])) for run in runs]
    for solver, look in CLOCKS.items():
        found = [(size, seconds(run).get(solver, {})) for size, run in zip(sizes, runs, strict=True)]
        single = [(size, by_batch[1]) for size, by_batch in found if 1 in by_batch]
        if single:
            ax.plot(*np.transpose(single), color=look.color, marker=look.marker, markersize=3, label=look.label)
        batches = [(size, by_batch[max(by_batch)]) for size, by_batch in found if len(by_batch) > 1]
        if batches and not solver.startswith("HiGHS"):
            most = max(max(by_batch) for _, by_batch in found if by_batch)
            ax.plot(
                *np.transpose(batches), color=look.color, marker=look.marker, markersize=3, markerfacecolor="white",
                linestyle=":", label=f"{look.label}, batch of {most}",
            )  # fmt: skip
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xticks(sizes, [f"{size:,}" for size in sizes])
    ax.set_xticks([], minor=True)
    ax.set_xlabel("edges")
    ax.set_ylabel("seconds per program")


def quick_look(run) -> None:
    """The residuals, into the run directory."""
    fig, ax = style.figure("column")
    residual_panel(ax, run)
    ax.legend(fontsize=6)
    style.save(style.stamp(fig, [run]), run.figure("lp"))
