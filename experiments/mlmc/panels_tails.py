"""Drawings of tails: sample variances against the true one, running means, and Hill's index."""

import numpy as np
from matplotlib.ticker import NullFormatter

from experiments.lib import style
from experiments.lib.tables import Measured, without_interval

__all__ = [
    "coverage", "exceedances", "expected_share", "heaviest", "hill", "index_panel", "names", "quick_look", "running",
    "running_panel", "sample_variance", "shown", "tail_index", "true_variance", "unseen", "variance_panel",
]  # fmt: skip

_HUES = style.PALETTE

#: Of the walks in the order in which they appear with one r after another.
_COLORS = {"A1": ("vermilion",), "A3": ("green", "blue"), "A4": ("orange", "purple")}
_LINKS = {"A1": "z²", "A3": "sin z", "A4": "max(z, 0)"}

#: Share of the exceedances in hand that Hill's index is taken from.
_TOP = 1 / 32


def names(run) -> list[tuple[str, float, str]]:
    """(walk, r, colour) of every case."""
    setting, used, found = run.config.problem, {}, []
    for walk, rate in zip(setting.walks, setting.rates, strict=True):
        place = used[walk] = used.get(walk, -1) + 1
        found.append((walk, rate, _HUES[_COLORS[walk][place % len(_COLORS[walk])]]))
    return found


def _label(walk: str, rate: float) -> str:
    return f"{_LINKS[walk]}, r = {rate:g}"


def running(run, case: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Replicates so far `[points]`; running means and running variances `[points, R]`, every seed by itself."""
    size = run.config.algo.block
    mean, within = (run.curves[name][..., case].astype(np.float64) for name in ("mean", "m2"))
    blocks = np.arange(1, len(mean) + 1)
    so_far = np.cumsum(mean, axis=0) / blocks[:, None]
    between = np.cumsum(mean**2, axis=0) - blocks[:, None] * so_far**2
    count = blocks * size
    return count, so_far, (np.cumsum(within, axis=0) + size * between) / (count[:, None] - 1)


def shown(run, case: int) -> Measured:
    """Sample variance over the true one, each seed's whole sample: the median over seeds, and their range."""
    found, truth = sample_variance(run, case), run.results["variance"][case]
    return Measured(*(float(part / truth) for part in found[:3]), found.n)


def true_variance(run, case: int) -> Measured:
    """Of one replicate, in closed form."""
    return without_interval(run.results["variance"][case])


def sample_variance(run, case: int) -> Measured:
    """Of each seed's whole sample: the median over seeds, and their range."""
    found = running(run, case)[2][-1]
    return Measured(float(np.median(found)), float(found.min()), float(found.max()), found.size)


def expected_share(run, case: int) -> np.ndarray:
    """`[points]`: the part of the variance that levels drawn at least once in the mean make up."""
    rate, count = run.config.problem.rates[case], running(run, case)[0]
    level = np.floor(np.log(count) / -np.log1p(-rate)).astype(int)
    return run.results["seen"][case][level] / run.results["variance"][case]


def unseen(run, case: int) -> Measured:
    """`shown` less what the levels drawn at least once in the mean make up."""
    found, expected = shown(run, case), float(expected_share(run, case)[-1])
    return Measured(*(part - expected for part in found[:3]), found.n)


def coverage(run, case: int) -> Measured:
    """How often a block's normal 95 % interval holds the exact value; all blocks of all seeds, exact interval."""
    from scipy import stats

    size = run.config.algo.block
    mean, within = (run.curves[name][..., case].astype(np.float64) for name in ("mean", "m2"))
    inside = np.abs(mean - run.results["exact"][case]) <= stats.norm.ppf(0.975) * np.sqrt(within / (size - 1) / size)
    low, high = stats.binomtest(int(inside.sum()), inside.size).proportion_ci(0.95)
    return Measured(float(inside.mean()), float(low), float(high), inside.size)


def exceedances(run, case: int) -> np.ndarray:
    """The largest |values| of all seeds together, descending, complete above the last one."""
    top = run.results["top"][case]
    return np.sort(top[top >= top[:, -1].max()])[::-1].astype(np.float64)


def hill(values: np.ndarray) -> np.ndarray:
    """Hill's tail index from the k largest, k = 1, ..., n - 1; relative standard error k**-1/2."""
    logs = np.log(values)
    k = np.arange(1, len(logs))
    return 1 / (np.cumsum(logs)[:-1] / k - logs[1:])


def tail_index(run, case: int) -> Measured:
    """Hill's index from the farthest of the exceedances in hand, with its asymptotic 95 % interval."""
    found = hill(exceedances(run, case))
    k = max(2, int(_TOP * len(found)))
    value, spread = float(found[k - 1]), 1.96 / np.sqrt(k)
    return Measured(value, value * (1 - spread), value * (1 + spread), k)


def _log_axis(ax) -> None:
    ax.set_xscale("log")
    ax.xaxis.set_minor_formatter(NullFormatter())


def variance_panel(ax, run) -> None:
    """Sample variance over the true one, median and range over seeds; dashed, what levels drawn so far make up."""
    for case, (walk, rate, color) in enumerate(names(run)):
        if run.results["kink"][case]:
            continue
        count, _, variance = running(run, case)
        ratio = variance / run.results["variance"][case]
        label = f"{_label(walk, rate)}, {run.results['variance'][case]:.1f} (n = {ratio.shape[1]})"
        ax.plot(count, np.median(ratio, axis=1), color=color, label=label)
        ax.fill_between(count, ratio.min(axis=1), ratio.max(axis=1), color=color, alpha=0.2, linewidth=0)
        style.reference(ax, count, expected_share(run, case), "_nolegend_", color=color, linewidth=0.8)
    style.reference(ax, [count[0], count[-1]], [1, 1], "truth", linewidth=0.8)
    _log_axis(ax)
    ax.set_ylim(0, 2)
    ax.set_xlabel("replicates of a seed")
    ax.set_ylabel("sample variance / true variance")


def running_panel(ax, run, case: int) -> None:
    """Running means of all seeds in the true standard error; the band of one seed as its own variance has it."""
    walk, rate, color = names(run)[case]
    count, mean, variance = running(run, case)
    truth = np.sqrt(run.results["variance"][case] / count)
    away = (mean - run.results["exact"][case]) / truth[:, None]
    half = 1.96 * np.sqrt(variance[:, 0] / count) / truth
    count = count / 1e6
    ax.plot(count, away, color=_HUES["grey"], linewidth=0.6)
    ax.plot(count, away[:, 0], color=color, linewidth=1.2, label=f"one seed, {_label(walk, rate)}")
    ax.fill_between(count, away[:, 0] - half, away[:, 0] + half, color=color, alpha=0.2, linewidth=0)
    style.reference(ax, [count[0], count[-1]], [0, 0], "truth", linewidth=0.8)
    ax.set_xlabel("million replicates of a seed")
    ax.set_ylabel("running mean − truth, in true s.e.")


def index_panel(ax, run) -> None:
    """Hill's index against the share of replicates it is taken from; dashed, p_0."""
    for case, (walk, rate, color) in enumerate(names(run)):
        values = exceedances(run, case)
        found = hill(values)
        k = np.arange(1, len(found) + 1)
        total = run.config.run.num_steps * run.config.algo.block * run.config.run.replicates
        kept = k >= 50
        share = k[kept] / total
        ax.plot(share, found[kept], color=color, label=f"{_label(walk, rate)}: {tail_index(run, case).value:.2f}")
        spread = 1.96 / np.sqrt(k[kept])
        ax.fill_between(
            share, found[kept] * (1 - spread), found[kept] * (1 + spread), color=color, alpha=0.15, linewidth=0
        )
        moments = run.results["moments"][case]
        style.reference(ax, [share[0], share[-1]], [moments] * 2, "_nolegend_", color=color, linewidth=0.9)
    style.reference(ax, [share[0], share[-1]], [2, 2], "variance infinite below", linewidth=0.6, linestyle=":")
    _log_axis(ax)
    ax.set_xlabel("share of replicates in the tail")
    ax.set_ylabel("Hill's tail index")


def quick_look(run) -> None:
    """All panels, into the run directory."""
    fig, axes = style.figure("text", 0.42, 1, 3)
    variance_panel(axes[0, 0], run)
    running_panel(axes[0, 1], run, heaviest(run))
    index_panel(axes[0, 2], run)
    for ax in axes[0]:
        ax.legend(fontsize=5)
    style.save(style.stamp(fig, [run]), run.figure("tails"))


def heaviest(run) -> int:
    """The smooth case of fewest moments."""
    return int(np.argmin(np.where(run.results["kink"], np.inf, run.results["moments"])))
