"""Drawings of ways of balancing a language model: loads, losses, and which experts take which domain."""

import numpy as np

from experiments.balancing.contest import rows
from experiments.lib import style
from experiments.lib.tables import Measured, measured, without_interval
from research.balancing import bounds, model_sizes, regret_bounds
from research.balancing.bias_update import Rule

__all__ = [
    "batch_panel", "global_panel", "loss_difference", "loss_panel", "quick_look", "row_names", "travelled",
    "utilisation", "utilisation_panel", "validation_loss", "violations",
]  # fmt: skip

_HUES = ("blue", "vermilion", "green", "purple", "orange", "sky", "yellow")


def row_names(run) -> tuple[str, ...]:
    """The rows as the config has them."""
    return tuple(run.config.algo.rows)


def _size(run) -> model_sizes.Size:
    return model_sizes.size(run.config.problem.size)


def _layers(run) -> range:
    return range(1, _size(run).layers)


def _last(run, name: str) -> np.ndarray:
    """The last chunk's values, `[R, row]`."""
    return run.curves[name][-1].astype(np.float64)


def violations(run, row: str, kind: str = "global_violation") -> np.ndarray:
    """MaxVio of a row at the end, `[R, layer]`; of the validation text, or "batch_violation", the last chunk's mean."""
    at = row_names(run).index(row)
    return np.stack([_last(run, f"{kind}/{layer}")[:, at] for layer in _layers(run)], axis=1)


def validation_loss(run, at: int = -1) -> np.ndarray:
    """Mean over domains at the end of a chunk, `[R, row]`, nats per token."""
    names = [name for name in run.curves if name.endswith("/loss")]
    return np.mean([run.curves[name][at].astype(np.float64) for name in names], axis=0)


def loss_difference(run, row: str, other: str) -> Measured:
    """Validation loss of a row less that of another with the same weights at first and the same batches."""
    names, loss = row_names(run), validation_loss(run)
    return measured(loss[:, names.index(row)] - loss[:, names.index(other)])


def travelled(run) -> Measured:
    """Spread of the bias over the farthest that the sign rule can have gone, the largest of all; at most 1."""
    shares = []
    for at, (method, value) in enumerate(rows(row_names(run))):
        if method.startswith("sign"):
            rule = Rule(*method.split(), step_size=value)
            reach = float(bounds.reachable_spread(rule, run.config.run.num_steps))
            shares += [_last(run, f"spread/{layer}")[:, at] / reach for layer in _layers(run)]
    return without_interval(np.max(shares), np.size(shares))


def _by_row(ax, run, kind: str) -> None:
    """A point for each layer, the mean over seeds, and a line from the least seed to the largest."""
    names = row_names(run)
    for at, row in enumerate(names):
        found = violations(run, row, kind)
        for layer in range(found.shape[1]):
            place = at + 0.22 * (layer - (found.shape[1] - 1) / 2)
            color = style.PALETTE[_HUES[layer % len(_HUES)]]
            label = f"layer {layer + 1}" if at == 0 else "_nolegend_"
            ax.plot([found[:, layer].min(), found[:, layer].max()], [place, place], color=color, linewidth=1.0)
            ax.plot([found[:, layer].mean()], [place], "o", color=color, markersize=3, label=label)
    ax.set_yticks(range(len(names)), [_title(name) for name in names])
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.set_xscale("log")
    style.plain_ticks(ax.xaxis, (0.1, 0.2, 0.5, 1, 2, 5, 10))


def _title(row: str) -> str:
    """A row as the figure writes it."""
    named = {"none": "no balancing", "quantile": "quantile dual"}
    return named.get(row, row.replace("const", "u").replace("inv_sqrt", "u/√n").replace("inv", "u/n").replace("_", " "))


def global_panel(ax, run) -> None:
    """MaxVio over the whole validation text; dotted, the ceiling E / K - 1."""
    size = _size(run)
    _by_row(ax, run, "global_violation")
    ax.axvline(size.experts / size.top_k - 1, color="0.5", linestyle=":", linewidth=0.8, label="all to the same K")
    ax.set_xlabel("MaxVio, validation text")


def batch_panel(ax, run) -> None:
    """MaxVio of a batch over the last chunk, and its floors for tokens that are independent and for those of text."""
    size, run_config = _size(run), run.config.run
    _by_row(ax, run, "batch_violation")
    tokens = run_config.batch_size * run_config.length
    floor = regret_bounds.noise_floor(tokens, size.experts, size.top_k)
    style.reference(ax, [floor, floor], [-0.5, len(row_names(run)) - 0.5], "floor, i.i.d. tokens", linewidth=0.8)
    for at in range(len(row_names(run))):
        found = np.mean([_last(run, f"dispersion/{layer}")[:, at] for layer in _layers(run)])
        effective = regret_bounds.gradient_bound(size.experts, size.top_k) / found
        own = regret_bounds.noise_floor(effective, size.experts, size.top_k)
        label = "floor, as batches vary" if at == 0 else "_nolegend_"
        ax.plot([own, own], [at - 0.35, at + 0.35], color="black", linewidth=1.2, label=label)
    ax.set_xlabel(f"MaxVio, batch of {tokens:,}")


def loss_panel(ax, run, reference: str = "none") -> None:
    """Validation loss less that without balancing, by seed and with the interval of the mean."""
    names, loss = row_names(run), validation_loss(run)
    base = loss[:, names.index(reference)]
    for at, row in enumerate(names):
        difference = loss[:, at] - base
        ax.plot(difference, np.full(len(difference), at), "o", color=style.PALETTE["sky"], markersize=2.5)
        value = loss_difference(run, row, reference)
        if np.isfinite(value.high):
            ax.plot([value.low, value.high], [at, at], color=style.PALETTE["blue"], linewidth=1.0)
        ax.plot([value.value], [at], "|", color=style.PALETTE["blue"], markersize=7)
    ax.axvline(0, color="0.5", linewidth=0.8, linestyle=":")
    ax.set_xlabel("loss − loss without balancing, nats")


def utilisation(run, row: str, domain: str) -> np.ndarray:
    """Loads over the balanced load on a domain's validation text at the end, of the first seed, `[layer, expert]`."""
    size, at = _size(run), row_names(run).index(row)
    shape = (-1, len(row_names(run)), size.experts)
    load = np.stack([_last(run, f"load/{layer}/{domain}").reshape(shape)[0, at] for layer in _layers(run)])
    return load / load.mean(axis=1, keepdims=True)


def utilisation_panel(ax, run, row: str, domain: str):
    """A map of layers and experts, experts of each layer by their load on the first domain; returns the image."""
    size, first = _size(run), run.meta["axes"]["domain"][0]
    order = np.argsort(-utilisation(run, row, first), axis=1, kind="stable")
    shown = np.take_along_axis(utilisation(run, row, domain), order, axis=1)
    edges = np.arange(size.experts + 1) + 0.5, np.arange(size.layers) + 0.5
    image = ax.pcolormesh(*edges, shown, cmap="cividis", vmin=0, vmax=3, rasterized=True)
    ax.set_yticks(list(_layers(run)))
    ax.set_ylim(size.layers - 0.5, 0.5)
    ax.set_title(f"{_title(row)}: {domain}")
    return image


def quick_look(run) -> None:
    """Loads and losses by row, into the run directory."""
    fig, axes = style.figure("text", 0.5, 1, 3, sharey=True)
    for ax, panel in zip(axes[0], (global_panel, batch_panel, loss_panel), strict=True):
        panel(ax, run)
    style.save(style.stamp(fig, [run]), run.figure("lm_schedules"))
