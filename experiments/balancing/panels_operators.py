"""Drawings and tables of the routers on the same logits."""

import numpy as np

from experiments.lib import style
from experiments.lib.tables import Measured, Table, measured

__all__ = ["METRICS", "balance_panel", "claims", "last", "quick_look", "row", "table", "trade_panel"]

#: Metric -> header.
METRICS = {
    "violation": "MaxVio", "device_violation": "DevVio", "value": "value / optimum", "dropped": "dropped",
    "unique": "experts in use",
}  # fmt: skip
_KINDS = (
    ("a token's best experts", "blue", "o", ("top-K", "Mixtral", "fine-grained", "recurrent", "grouped")),
    ("with a bias from past batches", "orange", "s", (
        "loss-free, sign", "loss-free, prop", "node-limited", "quantile",
    )),
    ("what the batch has room for", "green", "^", (
        "expert choice", "BASE (K = 1)", "drop by score", "drop the last", "expanded drop", "reroute",
    )),
    ("from a restricted pool", "purple", "D", ("document pools", "whole documents", "sharing, vote", "sharing, seq")),
    ("from more or other experts", "grey", "v", ("null experts", "MoE++", "chain", "shared pools")),
)  # fmt: skip


def row(run, metric: str, label: str) -> np.ndarray:
    """A router's metric `[points, R]`."""
    return run.curves[metric][..., run.axes["router"].index(label)]


def last(run, metric: str, label: str) -> Measured:
    """After training, mean and interval over seeds."""
    return measured(row(run, metric, label)[-1])


def table(run) -> Table:
    """All routers; a dash where a total does not compare and where no time was taken."""
    rows = []
    for label, milliseconds in zip(run.axes["router"], run.results["milliseconds"], strict=True):
        cells = [last(run, metric, label) for metric in METRICS]
        cells[2] = cells[2] if cells[2].value > 0 else float("nan")
        rows.append((label, *cells, float(milliseconds)))
    tokens = run.config.problem.sequences * run.config.problem.length
    header = ("router", *METRICS.values(), f"ms per {tokens} tokens")
    return Table(header, tuple(rows), digits=3)


def _present(run):
    """Kinds of which some router is in the run: name, colour, marker, its labels."""
    for name, color, marker, labels in _KINDS:
        here = [label for label in labels if label in run.axes["router"]]
        if here:
            yield name, style.PALETTE[color], marker, here


def trade_panel(ax, run) -> None:
    """Total score over the optimum with equal loads against MaxVio: further left is balanced, further up is better."""
    for name, color, marker, labels in _present(run):
        points = [(last(run, "violation", label), last(run, "value", label)) for label in labels]
        points = [(x.value, y.value) for x, y in points if y.value > 0]
        if points:
            x, y = zip(*points, strict=True)
            ax.plot(x, y, linestyle="none", marker=marker, markersize=4, color=color, label=name, clip_on=False)
    ax.axhline(1, color=style.LOOKS["bound"].color, linestyle="--", linewidth=0.8, zorder=0)
    ax.set_xscale("symlog", linthresh=0.1)
    ax.set_xlim(-0.01, 10)
    ax.set_xticks([0, 0.1, 1, 10], ["0", "0.1", "1", "10"])
    ax.set_xlabel("MaxVio")
    ax.set_ylabel("total score / optimum with equal loads")


def balance_panel(ax, run) -> None:
    """MaxVio of each router after training, with its interval, in the order of the rows."""
    labels = run.axes["router"]
    for _, color, marker, here in _present(run):
        found = [last(run, "violation", label) for label in here]
        value = np.array([cell.value for cell in found])
        spread = np.array([(cell.value - cell.low, cell.high - cell.value) for cell in found]).T
        spread = np.minimum(np.where(np.isfinite(spread), spread, 0), np.stack([value, np.full(len(value), np.inf)]))
        place = [labels.index(label) for label in here]
        ax.errorbar(value, place, xerr=spread, linestyle="none", marker=marker, markersize=3.5, elinewidth=0.8,
                    color=color)  # fmt: skip
    ax.set_yticks(np.arange(len(labels)), labels, fontsize=6)
    ax.invert_yaxis()
    ax.set_xlabel(f"MaxVio (n = {run.config.run.replicates})")
    ax.set_xlim(left=-0.1)


def claims(run) -> dict[str, Measured]:
    """What must hold of every batch, and one comparison, of the routers that are in the run."""
    found = {}
    exact = {
        "expert_choice_violation": ("violation", "expert choice"), "base_violation": ("violation", "BASE (K = 1)"),
        "base_value": ("value", "BASE (K = 1)"), "vote_unique": ("unique", "sharing, vote"),
        "pool_unique": ("unique", "whole documents"),
    }  # fmt: skip
    for name, (metric, label) in exact.items():
        if label in run.axes["router"]:
            worst = float(row(run, metric, label).max())
            found[name] = Measured(worst, worst, worst, run.config.run.replicates)
    pairs = {"mixtral": "Mixtral", "sign": "loss-free, sign", "prop": "loss-free, prop", "quantile": "quantile"}
    for name, label in pairs.items():
        if label in run.axes["router"]:
            change = row(run, "violation", label) - row(run, "violation", "top-K")
            found[f"{name}_change"] = measured(change[-1])
    return found


def quick_look(run) -> None:
    """Balance and quality, into the run directory."""
    fig, axes = style.figure("text", 0.6, 1, 2)
    balance_panel(axes[0, 0], run)
    trade_panel(axes[0, 1], run)
    axes[0, 1].legend(fontsize=6, loc="upper left")
    style.stamp(fig, [run]).savefig(run.figure("operators.png"))
