"""Aggregations on sets larger than those of their training."""

from experiments.lib import style
from experiments.pooling import panels_parity as panels

CONFIGS = ["configs/pooling/parity.py"]
PAPER_CONFIGS = ["configs/pooling/paper_parity.py"]

caption = (
    "Networks that differ in how they aggregate a set, trained on few elements (grey) and tested on more. Left: parity "
    "of bits. Middle: second smallest of eight levels above a random lower end. Lines: mean over seeds, bars: from the "
    "least to the largest; the last point of some is far beyond. Tables (finite monoids, rounded after training) and "
    "tropical polynomials are commutative monoids by construction, the LCM learns to be one. Right: share of answers "
    "that another order of the same elements changes, at the largest common size."
)


def draw(runs):
    (run,) = runs
    fig, axes = style.figure("text", 0.42, 1, 3)
    for ax, task in zip(axes[0], panels.TASKS, strict=False):
        panels.accuracy_panel(ax, run, task)
    axes[0, 0].set_ylabel("accuracy")
    panels.flips_panel(axes[0, 2], run)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside lower center", ncols=len(labels) if len(labels) < 7 else 5, fontsize=6)
    return fig


def claims(runs):
    (run,) = runs
    both, parity, second = "tables and tropical", *panels.TASKS
    found = {
        "proved": panels.proved(run, parity),
        "constructed/parity": panels.least(panels.accuracy(run, parity, both)),
        "constructed/second": panels.least(panels.accuracy(run, second, both)),
    }
    methods = run.axes["method"]
    if {"sum", "mean", "max", "LCM", "GRU"} <= set(methods):
        found["plain/parity"] = panels.largest_mean(run, parity, ("sum", "mean", "max"))
        found["LCM/parity"] = panels.measured(panels.accuracy(run, parity, "LCM"))
        found["LCM/second"] = panels.measured(panels.accuracy(run, second, "LCM"))
        found["GRU/second"] = panels.measured(panels.accuracy(run, second, "GRU"))
        found["margin"] = panels.margin(run, second, both, "GRU")
    if both in run.config.run.far_methods:
        found["far/parity"] = panels.least(panels.far(run, parity, both))
        found["far/second"] = panels.least(panels.far(run, second, both))
    return found
