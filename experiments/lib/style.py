"""How every figure looks: sizes, colours per method, curves with intervals, and files with the same bytes every time.

No pyplot: a `Figure` is an object like any other, nothing is global, and no display is needed.
"""

from __future__ import annotations

import io
import json
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.collections import PathCollection
from matplotlib.container import BarContainer
from matplotlib.figure import Figure

from experiments.lib import files

__all__ = [
    "LOOKS", "PALETTE", "WIDTHS", "Look", "curve", "figure", "look", "plain_ticks", "plotted", "provenance",
    "reference", "save", "stamp",
]  # fmt: skip

STYLE_FILE = Path(__file__).with_name("equipoise.mplstyle")

#: Inches; one column of a two-column page, the text width of a one-column page, a landscape slide.
WIDTHS = {"column": 3.35, "text": 6.75, "slide": 10.0}

#: Okabe and Ito's colours: told apart with every common kind of colour blindness, and in grey by their order.
PALETTE = {
    "blue": "#0072B2", "vermilion": "#D55E00", "green": "#009E73", "purple": "#CC79A7", "orange": "#E69F00",
    "sky": "#56B4E9", "yellow": "#F0E442", "black": "#000000", "grey": "#7F7F7F",
}  # fmt: skip


class Look(NamedTuple):
    """How a method is drawn, in every figure of the project."""

    label: str
    color: str
    linestyle: str | tuple = "-"
    marker: str = "o"


#: One look per method. The line style and the marker repeat what the colour says.
LOOKS = {
    "baseline": Look("online ridge", PALETTE["black"], "-", "*"),
    "anh": Look("ANH, expected loss", PALETTE["blue"], "-", "o"),
    "anh_mean": Look("ANH, mean prediction", PALETTE["sky"], (0, (5, 1)), "s"),
    "aa": Look("specialist AA", PALETTE["vermilion"], "-", "^"),
    "ewa": Look("specialist EWA", PALETTE["orange"], (0, (3, 1, 1, 1)), "v"),
    "smallest_group": Look("smallest group", PALETTE["purple"], (0, (5, 1)), "D"),
    "uniform": Look("uniform average", PALETTE["green"], (0, (3, 1, 1, 1)), "P"),
    "sgd": Look("SGD ridge", PALETTE["yellow"], "-", "X"),
    "vaw": Look("VAW experts", PALETTE["green"], "-", "h"),
    "blum_lykouris": Look("Blum–Lykouris", PALETTE["purple"], "-", "p"),
    "multiplicative_weights": Look("multiplicative weights", PALETTE["orange"], "-", "8"),
    "fpl": Look("FPL per group", PALETTE["green"], "-", "<"),
    "aranyani": Look("Aranyani", PALETTE["blue"], "-", "o"),
    "majority": Look("majority", PALETTE["grey"], "-", "_"),
    "mlp": Look("MLP", PALETTE["green"], "-", "s"),
    "hoeffding_tree": Look("Hoeffding tree", PALETTE["vermilion"], "-", "^"),
    "reservoir": Look("reservoir", PALETTE["orange"], "-", "v"),
    "hindsight": Look("best in hindsight", PALETTE["grey"], "-", "|"),
    "bound": Look("bound", PALETTE["grey"], "--", ""),
}


def look(method: str) -> Look:
    """The look of a method. Raises `ValueError` for a method that has none."""
    if method not in LOOKS:
        raise ValueError(f"method must be one of {', '.join(LOOKS)}, got {method!r}.")
    return LOOKS[method]


def figure(
    width: str | float = "column", ratio: float = 0.62, rows: int = 1, columns: int = 1, **subplots
) -> tuple[Figure, Any]:
    """An empty figure of the project's style.

    Args:
      width: a name in `WIDTHS`, or inches.
      ratio: height over width of the whole figure.
      rows, columns: panels. With one of each a single `Axes` comes back, otherwise an array `[rows, columns]`.
      subplots: passed to `Figure.subplots`, such as `sharex=True`.
    """
    matplotlib.rcParams.update(matplotlib.rc_params_from_file(STYLE_FILE, use_default_template=False))
    inches = WIDTHS[width] if isinstance(width, str) else width
    fig = Figure(figsize=(inches, inches * ratio), layout="constrained")
    axes = fig.subplots(rows, columns, squeeze=False, **subplots)
    return fig, axes[0, 0] if rows == columns == 1 else axes


def curve(
    ax: Axes, x, values, method: str | Look, *, label: str | None = None, level: float = 0.95, count=True, **line
):
    """Mean over replicates with a band for Student's interval of the mean (none for one replicate).

    Args:
      x: `[points]`.
      values: `[points, R]`, one column per replicate.
      method: a key of `LOOKS`, or a look.
      label: instead of the look's label; the number of replicates is appended if `count`.

    Returns:
      the line.
    """
    from research.core.stats import t_interval

    how = method if isinstance(method, Look) else look(method)
    found = t_interval(np.asarray(values, np.float64), level, axis=1)
    name = how.label if label is None else label
    if count and name and not name.startswith("_"):
        name = f"{name} (n = {found.n})"
    line = {"color": how.color, "linestyle": how.linestyle, "label": name} | line
    (drawn,) = ax.plot(x, found.mean, **line)
    if found.n > 1:
        ax.fill_between(x, found.low, found.high, color=drawn.get_color(), alpha=0.2, linewidth=0)
    return drawn


def reference(ax: Axes, x, y, label: str, **line):
    """A theorem's line: dashed and grey."""
    how = LOOKS["bound"]
    return ax.plot(x, y, **({"color": how.color, "linestyle": how.linestyle, "label": label} | line))[0]


def plain_ticks(axis: Axis, ticks: Sequence[float]) -> None:
    """Ticks of a logarithmic axis at these values only, as plain numbers."""
    axis.set_ticks(ticks, [f"{tick:,g}" for tick in ticks])
    axis.set_ticks([], minor=True)


_stamps: weakref.WeakKeyDictionary[Figure, dict] = weakref.WeakKeyDictionary()


def stamp(fig: Figure, runs: Sequence, sources: Sequence[str] = ()) -> Figure:
    """Notes where the numbers come from; `save` writes it into the files. Arguments as those of `provenance`."""
    _stamps[fig] = provenance(runs, sources)
    return fig


def provenance(runs: Sequence, sources: Sequence[str] = ()) -> dict[str, list[str]]:
    """`runs`: `<family>/<question>/<config>-<hash8>` of each; `revisions`: the git revisions that computed them;
    `sources`: files of the checkout, where there are any.

    Args:
      runs: what `rundir.load` returns.
      sources: paths relative to the checkout.
    """
    found = {
        "runs": ["/".join(run.path.parts[-3:]) for run in runs],
        "revisions": sorted({run.meta["git_revision"] for run in runs}),
    }
    return found | ({"sources": list(sources)} if sources else {})


def save(fig: Figure, path: str | Path) -> list[Path]:
    """Writes `path`.pdf and `path`.png; the same figure gives the same bytes, since no clock enters them."""
    path = Path(path)
    noted = json.dumps(_stamps.get(fig, {}), sort_keys=True)
    written = []
    for kind, metadata in (
        ("pdf", {"Title": path.name, "Subject": noted, "CreationDate": None}),
        ("png", {"Title": path.name, "Description": noted}),
    ):
        buffer = io.BytesIO()
        fig.savefig(buffer, format=kind, metadata=metadata)
        written.append(path.with_name(f"{path.name}.{kind}"))
        files.replace(written[-1], buffer.getvalue())
    return written


def plotted(fig: Figure) -> list[dict[str, Any]]:
    """Every number that the figure shows, in data coordinates, by panel: lines, bands, points and bars.

    Lines and points are `x` and `y`; a band is the closed polygon around it; a bar is its left and lower edge, width
    and height. Non-finite numbers are None, so that the result is JSON.
    """
    panels = []
    for ax in fig.axes:
        panel = {"title": ax.get_title(), "x": ax.get_xlabel(), "y": ax.get_ylabel()}
        panel["lines"] = [
            {"label": line.get_label(), "x": _plain(line.get_xdata()), "y": _plain(line.get_ydata())}
            for line in ax.lines
        ]
        panel["bands"], panel["points"] = [], []
        for artist in ax.collections:
            if isinstance(artist, PathCollection):
                x, y = np.ma.getdata(artist.get_offsets()).T
                panel["points"].append({"label": artist.get_label(), "x": _plain(x), "y": _plain(y)})
            else:
                panel["bands"].extend(
                    {"label": artist.get_label(), "x": _plain(path.vertices[:, 0]), "y": _plain(path.vertices[:, 1])}
                    for path in artist.get_paths()
                )
        panel["bars"] = [
            {
                "label": bars.get_label(),
                "boxes": [_plain((*bar.get_xy(), bar.get_width(), bar.get_height())) for bar in bars],
            }
            for bars in ax.containers
            if isinstance(bars, BarContainer)
        ]
        panels.append({key: value for key, value in panel.items() if value})
    return panels


def _plain(values) -> list[float | None]:
    return [float(v) if np.isfinite(v) else None for v in np.asarray(values, np.float64).reshape(-1)]
