"""Drawings of what remains uneven: MaxVio of a batch against tokens per batch, with floors."""

import numpy as np

from experiments.balancing import panels_rules
from experiments.lib import style
from experiments.lib.tables import Measured, measured

__all__ = ["above_floor", "clustered_floor", "effective_share", "floor_panel", "quick_look", "ratio_panel"]


def _tokens(run) -> np.ndarray:
    return np.array(run.config.problem.tokens, float)


def _settled(run, name: str) -> np.ndarray:
    """Mean over the second half of the run, `[tokens, R]`."""
    values = run.curves[name].astype(np.float64)
    return values[len(values) // 2 :].mean(axis=0).T


def clustered_floor(run) -> np.ndarray:
    """Floor of the clustered tokens, by the effective number of tokens that loads show, `[tokens, R]`."""
    from research.balancing import regret_bounds

    asked = run.config.problem
    return regret_bounds.noise_floor(_settled(run, "effective"), asked.experts, asked.top_k)


def _ratio(run, row: str, kind: str) -> np.ndarray:
    floor = run.results["floor"][:, None] if kind == "violation" else clustered_floor(run)
    return _settled(run, f"{kind}/{row}") / floor


def above_floor(run, row: str, kind: str = "violation") -> Measured:
    """MaxVio over its floor, at the batch size where that is largest; `kind` is "violation" or "clustered"."""
    found = _ratio(run, row, kind)
    return measured(found[int(np.argmax(found.mean(axis=1)))])


def effective_share(run) -> Measured:
    """Effective over real tokens of the clustered batches, at the largest batch."""
    return measured(_settled(run, "effective")[-1] / _tokens(run)[-1])


def floor_panel(ax, run, kind: str) -> None:
    """MaxVio of every row and the floors; of clustered tokens with that of as many independent ones too."""
    for _, row in panels_rules.places(run):
        if row == "none":
            continue
        how = panels_rules.look(row)
        style.curve(ax, _tokens(run), _settled(run, f"{kind}/{row}"), how, marker=how.marker, markersize=3, count=False)
    style.reference(ax, _tokens(run), run.results["floor"], "floor, independent tokens")
    if kind == "clustered":
        line = {"color": "black", "linestyle": ":"}
        style.reference(ax, _tokens(run), clustered_floor(run).mean(axis=1), "floor, effective tokens", **line)
    ax.set(xscale="log", yscale="log", xlabel="tokens per batch", ylabel="MaxVio of a batch")
    ax.set_title("independent tokens" if kind == "violation" else f"groups of {run.config.problem.group}")
    style.plain_ticks(ax.xaxis, run.config.problem.tokens)


def ratio_panel(ax, run) -> None:
    """MaxVio over the floor of its own kind of tokens; dashed for clustered tokens. The shade is up to 1.3."""
    for _, row in panels_rules.places(run):
        if row == "none":
            continue
        how = panels_rules.look(row)
        style.curve(ax, _tokens(run), _ratio(run, row, "violation"), how, marker=how.marker, markersize=3, count=False,
                    linestyle="-")  # fmt: skip
        style.curve(ax, _tokens(run), _ratio(run, row, "clustered"), how, label="_nolegend_", count=False,
                    linestyle="--", linewidth=0.8)  # fmt: skip
    ax.axhspan(1, 1.3, color=style.PALETTE["grey"], alpha=0.15, linewidth=0)
    style.reference(ax, _tokens(run), np.ones(len(_tokens(run))), "floor")
    ax.set(xscale="log", xlabel="tokens per batch", ylabel="MaxVio / floor")
    style.plain_ticks(ax.xaxis, run.config.problem.tokens)


def quick_look(run) -> None:
    """Independent tokens, into the run directory."""
    fig, ax = style.figure()
    floor_panel(ax, run, "violation")
    ax.legend(fontsize=6)
    style.save(style.stamp(fig, [run]), run.figure("floor"))
