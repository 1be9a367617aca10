"""The tables of levels as text: what every level's samples say, the rates, the concerns, and the cost by tolerance."""

import io

import numpy as np

from experiments.mlmc import panels_multilevel as panels

__all__ = ["text"]


def text(run) -> str:
    """Of a finished run: a section for every walk, over all replicates at the finest tolerance."""
    from rich.console import Console

    out = io.StringIO()
    console = Console(file=out, width=110, color_system=None)
    for walk in run.axes["walk"]:
        _section(console, run, walk)
    return out.getvalue()


def _section(console, run, walk: str) -> None:
    from research.mlmc import level_report

    found = level_report.report(panels.pooled(run, walk), run.config.algo.base)
    adaptive = walk in run.config.problem.adaptive
    samples = f"tolerance {run.config.problem.tolerances[-1]:g}" if adaptive else "levels sampled alike"
    console.rule(f"{walk}, {run.config.run.replicates} replicates, {samples}")
    console.print(_levels(found))
    console.print(
        f"weak rate {found.weak_rate:.3f}, variance rate {found.variance_rate:.3f}, cost rate {found.cost_rate:.3f}"
    )
    for concern in found.concerns:
        console.print(f"warning: {concern}")
    if adaptive:
        console.print(_costs(run, walk))


def _levels(found):
    table = _table("level", "samples", "mean Δ", "mean P", "var Δ", "var P", "kurtosis", "check", "cost")
    columns = (
        found.samples, found.mean, found.mean_value, found.variance, found.variance_value, found.kurtosis,
        found.consistency, found.cost,
    )  # fmt: skip
    for level, row in enumerate(zip(*columns, strict=True)):
        samples, *middle, kurtosis, check, cost = row
        cells = (f"{samples:,}", *(f"{x: .4e}" for x in middle), f"{kurtosis:.1f}", f"{check:.3f}", f"{cost:g}")
        table.add_row(str(level), *cells)
    return table


def _costs(run, walk: str):
    table = _table("tolerance", "rmse / ε", "bias / ε", "leaves", "standard", "saving", "N_l, mean")
    for tolerance in run.config.problem.tolerances:
        ours, plain = (of(run, walk, tolerance).value / tolerance**2 for of in (panels.cost, panels.standard_cost))
        count = panels.curve(run, "count", walk, tolerance).mean(axis=0)
        samples = " ".join(f"{x:,.0f}" for x in count[: int(np.flatnonzero(count)[-1]) + 1])
        error, bias = (of(run, walk, tolerance).value for of in (panels.error, panels.bias))
        cells = (
            f"{tolerance:g}",
            f"{error:.2f}",
            f"{bias:.2f}",
            f"{ours:,.0f}",
            f"{plain:,.0f}",
            f"{plain / ours:.1f}",
        )
        table.add_row(*cells, samples)
    return table


def _table(*header: str):
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in header:
        table.add_column(name, justify="right", overflow="fold")
    return table
