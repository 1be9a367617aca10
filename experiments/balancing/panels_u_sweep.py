"""Drawings of step sizes: MaxVio and loss against u for each schedule, with the walls that travel sets."""

import numpy as np

from experiments.balancing import panels_lm_schedules as looks
from experiments.balancing.contest import rows
from experiments.lib import style
from experiments.lib.tables import Measured, measured
from research.balancing import bounds
from research.balancing.bias_update import Rule

__all__ = ["best", "left_wall", "loss_panel", "quick_look", "schedules", "violation_panel", "wall_ratio"]

_LOOKS = {
    "sign const": style.Look("sign, u", style.PALETTE["blue"], "-", "o"),
    "sign inv": style.Look("sign, u / n", style.PALETTE["vermilion"], (0, (5, 1)), "s"),
    "sign inv_sqrt": style.Look("sign, u / √n", style.PALETTE["green"], (0, (3, 1, 1, 1)), "^"),
}


def schedules(run) -> dict[str, tuple[np.ndarray, list[str]]]:
    """`RULE SCHEDULE` -> step sizes, ascending, and the rows that have them."""
    found: dict[str, list[tuple[float, str]]] = {}
    for text, row in zip(looks.row_names(run), rows(looks.row_names(run)), strict=True):
        found.setdefault(row.method, []).append((row.value, text))
    return {name: (np.array([u for u, _ in sorted(of)]), [t for _, t in sorted(of)]) for name, of in found.items()}


def _worst(run, row: str) -> np.ndarray:
    """MaxVio on the validation text in the worst layer, `[R]`."""
    return looks.violations(run, row).max(axis=1)


def best(run, name: str) -> Measured:
    """The least MaxVio of a schedule over its step sizes, worst layer, mean over seeds."""
    return min((measured(_worst(run, row)) for row in schedules(run)[name][1]), key=lambda found: found.value)


def _spread(run) -> float:
    """Spread of the bias where loads are most even: mean over seeds of the worst layer's. What has to be travelled."""
    names = looks.row_names(run)
    row = min(names, key=lambda text: _worst(run, text).mean())
    spreads = [run.curves[name][-1][:, names.index(row)] for name in run.curves if name.startswith("spread/")]
    return float(np.mean(np.max(spreads, axis=0)))


def left_wall(run, name: str) -> float:
    """The step size that can just travel that far in the run: u with 2 sum u_n = spread."""
    unit = bounds.reachable_spread(Rule(*name.split(), step_size=1.0), run.config.run.num_steps)
    return _spread(run) / float(unit)


def wall_ratio(run, name: str) -> Measured | None:
    """MaxVio of the largest step size below half the wall over the schedule's best; None without one there."""
    sizes, texts = schedules(run)[name]
    below = [text for u, text in zip(sizes, texts, strict=True) if u < left_wall(run, name) / 2]
    return measured(_worst(run, below[-1]) / best(run, name).value) if below else None


def _against_step_size(ax, run, value_of) -> None:
    for name, (sizes, texts) in schedules(run).items():
        values = np.stack([value_of(text) for text in texts])
        style.curve(ax, sizes, values, _LOOKS[name], marker=_LOOKS[name].marker, markersize=3, linewidth=1.0)
        ax.axvline(left_wall(run, name), color=_LOOKS[name].color, linestyle=":", linewidth=0.9, label="_nolegend_")
    ax.set_xscale("log")
    ax.set_xlabel("step size u")


def violation_panel(ax, run) -> None:
    """MaxVio on the validation text in the worst layer; dotted, the left walls."""
    _against_step_size(ax, run, lambda text: _worst(run, text))
    ax.set_yscale("log")
    lowest = min(best(run, name).value for name in schedules(run))
    style.plain_ticks(ax.yaxis, [tick for tick in (0.1, 0.2, 0.5, 1, 2, 5) if tick > lowest / 2])
    ax.set_ylabel("MaxVio, worst layer")


def loss_panel(ax, run) -> None:
    """Validation loss."""
    names, loss = looks.row_names(run), looks.validation_loss(run)
    _against_step_size(ax, run, lambda text: loss[:, names.index(text)])
    ax.set_ylabel("validation loss, nats per byte")


def quick_look(run) -> None:
    """Both, into the run directory."""
    fig, axes = style.figure("text", 0.4, 1, 2)
    violation_panel(axes[0, 0], run)
    loss_panel(axes[0, 1], run)
    axes[0, 0].legend(fontsize=6)
    style.save(style.stamp(fig, [run]), run.figure("u_sweep"))
