"""Drawings of the time that mixing takes."""

import json

import numpy as np

from experiments.lib import style
from experiments.lib.tables import Measured
from research.core.stats import rate_fit

__all__ = ["counted_slope", "quick_look", "seconds", "slope", "time_panel"]

_LOOKS = {
    "PoNet": style.Look("PoNet", style.PALETTE["blue"], "-", "o"),
    "attention": style.Look("softmax attention", style.PALETTE["vermilion"], "-", "s"),
}


def seconds(run, mixer: str) -> np.ndarray:
    """Of one mix, `[lap, tokens]`, without the first lap."""
    rows = [json.loads(line) for line in (run.path / "timing.jsonl").read_text().splitlines()]
    names = run.axes["variant"]
    laps = np.array([row["seconds"] for row in rows]).reshape(-1, len(names))[1:]
    tokens = np.asarray(run.config.problem.tokens)
    at = [names.index(f"{mixer} {count}") for count in tokens]
    return laps[:, at] * tokens / tokens.max()


def counted_slope(run, mixer: str) -> Measured:
    """Exponent of the operations that XLA counts, likewise."""
    names, tokens = run.axes["variant"], run.config.problem.tokens
    fit = rate_fit(tokens, [run.results["operations"][names.index(f"{mixer} {count}")] for count in tokens])
    return Measured(fit.slope, fit.low, fit.high, fit.n)


def slope(run, mixer: str) -> Measured:
    """Exponent of the fastest lap's time in the number of tokens, by least squares in logarithms, with its interval."""
    fit = rate_fit(run.config.problem.tokens, seconds(run, mixer).min(axis=0))
    return Measured(fit.slope, fit.low, fit.high, fit.n)


def time_panel(ax, run) -> None:
    """Seconds of one mix by tokens: every lap as a dot, a line through the fastest; slopes named, with their n."""
    tokens = np.asarray(run.config.problem.tokens)
    for power, (mixer, look) in zip((1, 2), _LOOKS.items(), strict=True):
        laps, fit = seconds(run, mixer), slope(run, mixer)
        fastest, label = laps.min(axis=0), f"{look.label}, slope {fit.value:.2f} (n = {fit.n})"
        ax.plot(np.tile(tokens, len(laps)), laps.reshape(-1), ".", color=look.color, alpha=0.4, markersize=2)
        ax.plot(tokens, fastest, look.marker, color=look.color, markersize=3, linestyle="-", label=label)
        guide = fastest[-1] * (tokens / tokens[-1]) ** float(power)
        style.reference(ax, tokens, guide, f"slope {power}", linestyle=("--", ":")[power - 1], linewidth=0.8)
    ax.set_xscale("log", base=2)
    ax.set_yscale("log")
    style.plain_ticks(ax.xaxis, tokens)
    ax.set_xlabel("tokens")
    ax.set_ylabel("seconds")
    ax.legend(fontsize=6)


def quick_look(run) -> None:
    """The panel, into the run directory."""
    fig, ax = style.figure("column", 0.8)
    time_panel(ax, run)
    style.save(style.stamp(fig, [run]), run.figure("mixing"))
