"""Drawings of CARPool: is the estimate unbiased, and how much variance do surrogates take away, by wave number."""

import numpy as np

from experiments.lib import style
from experiments.lib.tables import Measured, without_interval

__all__ = [
    "KINDS", "agreement", "bias_panel", "kinds_panel", "largest_z", "quick_look", "reduction_panel",
    "typical_reduction",
]  # fmt: skip

KINDS = {"matter": "matter", "lrg": "LRG-like", "elg": "ELG-like"}
_HUES = style.PALETTE
_LOOKS = {
    "plain": style.Look("mean of slow runs", _HUES["grey"], (0, (5, 1)), "s"),
    "estimate": style.Look("CARPool", _HUES["blue"], "-", "o"),
    0: style.Look("2LPT alone", _HUES["vermilion"], "-", "^"),
    "fast": style.Look("{} steps", _HUES["blue"], "-", "o"),
    "hybrid": style.Look("{} steps, hybrid β", _HUES["green"], (0, (5, 1)), "D"),
    "full": style.Look("{} steps, full β", _HUES["purple"], (0, (3, 1, 1, 1)), "P"),
}


def _best(run) -> int:
    """The surrogate with most steps."""
    return max(run.config.algo.surrogates)


def _look(steps: int) -> style.Look:
    look = _LOOKS[steps] if steps in _LOOKS else _LOOKS["fast"]
    return look._replace(label=look.label.format(steps))


def bias_panel(ax, run, kind: str = "matter") -> None:
    """Estimates of groups over the mean of independent slow runs, minus 1: mean and interval over groups."""
    k, truth = run.results["wave_number"], run.results[f"check/{kind}"].mean(axis=0)
    pairs = run.config.run.num_steps
    # The independent runs have an error of their own, and it is what the mean of both curves scatters by.
    spread = run.results[f"check/{kind}"].std(axis=0, ddof=1) / np.sqrt(len(run.results[f"check/{kind}"])) / truth
    ax.fill_between(k, -2 * spread, 2 * spread, color="0.85", linewidth=0, label="±2 s.e. of the check")
    for name, values in (
        ("plain", run.results[f"plain/{kind}"]), ("estimate", run.results[f"estimate{_best(run)}/{kind}"])
    ):  # fmt: skip
        style.curve(ax, k, (values / truth - 1).T, _LOOKS[name], label=f"{_LOOKS[name].label}, {pairs} pairs a group")
    ax.axhline(0, color="0.45", linewidth=0.8, zorder=1)
    ax.set_xlabel("wave number k (h/Mpc)")
    ax.set_ylabel("P(k) / independent slow runs − 1")


def _points(ax, run, steps: int, kind: str, beta: str, look: style.Look, shift: float = 1.0) -> None:
    k = run.results["wave_number"] * shift
    middle, low, high = (run.results[f"{end}{steps}/{kind}/{beta}"] for end in ("reduction", "low", "high"))
    ax.errorbar(
        k, middle, yerr=[np.maximum(middle - low, 0), np.maximum(high - middle, 0)], color=look.color,
        marker=look.marker, linestyle="none", markersize=3, elinewidth=0.8, label=look.label,
    )  # fmt: skip


def reduction_panel(ax, run, kind: str) -> None:
    """Variance without over variance with a surrogate, out of sample with BCa intervals, and 1 / (1 - R^2)."""
    k = run.results["wave_number"]
    for place, steps in enumerate(run.config.algo.surrogates):
        look = _look(steps)
        _points(ax, run, steps, kind, "diagonal", look, 1 + 0.02 * place)
        ax.plot(k, 1 / (1 - run.results[f"explained{steps}/{kind}"]), color=look.color, linewidth=1.0,
                linestyle=look.linestyle, label="_nolegend_")  # fmt: skip
    _axes(ax, KINDS[kind])


def kinds_panel(ax, run, kind: str = "matter") -> None:
    """Variance reduction out of sample for each kind of beta, surrogate with most steps."""
    for place, beta in enumerate(run.config.algo.betas):
        look = _look(_best(run)) if beta == "diagonal" else _LOOKS[beta]
        _points(ax, run, _best(run), kind, beta, look._replace(label=f"{beta} β"), 1 + 0.02 * place)
    _axes(ax, KINDS[kind])


def _axes(ax, title: str) -> None:
    ax.axhline(1, color="0.45", linewidth=0.8, zorder=1)
    ax.set_yscale("log")
    ax.set_xlabel("wave number k (h/Mpc)")
    ax.set_title(title)


def typical_reduction(run, kind: str) -> Measured:
    """Median over shells of the variance reduction by the surrogate with most steps, diagonal beta."""
    ends = (f"{end}{_best(run)}/{kind}/diagonal" for end in ("reduction", "low", "high"))
    return Measured(*(float(np.median(run.results[end])) for end in ends), run.results["wave_number"].size)


def agreement(run) -> Measured:
    """Geometric mean over surrogates, kinds and shells of (reduction out of sample) (1 - R^2); least and largest."""
    found = np.concatenate([
        run.results[f"reduction{steps}/{kind}/diagonal"] * (1 - run.results[f"explained{steps}/{kind}"])
        for steps in run.config.algo.surrogates for kind in KINDS
    ])  # fmt: skip
    return Measured(float(np.exp(np.log(found).mean())), float(found.min()), float(found.max()), found.size)


def largest_z(run) -> Measured:
    """Largest |difference| between CARPool's mean over groups and the independent runs, in standard errors: those of
    both over groups, and that of the surrogate mean, which all groups share."""
    scores = []
    for steps in run.config.algo.surrogates:
        for kind in KINDS:
            ours, other = run.results[f"estimate{steps}/{kind}"], run.results[f"check/{kind}"]
            squared = sum(x.var(axis=0, ddof=1) / len(x) for x in (ours, other))
            squared += run.results[f"surrogate_error{steps}/{kind}"] ** 2
            scores.append(np.abs(ours.mean(axis=0) - other.mean(axis=0)) / np.sqrt(squared))
    scores = np.concatenate(scores)
    return without_interval(scores.max(), scores.size)


def quick_look(run) -> None:
    """All panels, into the run directory."""
    fig, axes = style.figure("text", 0.75, 2, 2)
    bias_panel(axes[0, 0], run)
    for ax, kind in zip(axes.flat[1:], KINDS, strict=True):
        reduction_panel(ax, run, kind)
        ax.set_ylabel("variance reduction")
    axes[0, 0].legend(fontsize=6)
    axes[0, 1].legend(fontsize=6)
    style.save(style.stamp(fig, [run]), run.figure("carpool"))
