"""How this family's figures name and colour methods; the names are those of the curves of a race."""

import numpy as np

from experiments.lib import style

__all__ = ["METHODS", "epoch_axis", "log_curve", "race"]

_HUES = style.PALETTE

#: Colours serve twice: methods of class A and of class B are never drawn together, but for `page`.
METHODS = {
    "eg": style.Look("extragradient", _HUES["grey"], "-", "s"),
    "eag": style.Look("EAG", _HUES["orange"], (0, (5, 1)), "D"),
    "feg": style.Look("FEG", _HUES["purple"], (0, (5, 1)), "v"),
    "forb": style.Look("FoRB", _HUES["black"], (0, (3, 1, 1, 1)), "P"),
    "vr_eg": style.Look("VR-EG", _HUES["green"], "-", "^"),
    "vr_eg_bold": style.Look("VR-EG, uncertified step", _HUES["sky"], (0, (3, 1, 1, 1)), "o"),
    "vr_forb": style.Look("VR-FoRB", _HUES["yellow"], "-", "h"),
    "page": style.Look("Algorithm 1", _HUES["sky"], "-", "o"),
    "alg2": style.Look("Algorithm 2", _HUES["blue"], (0, (5, 1)), "X"),
    "reflected": style.Look("Algorithm 2, reflected", _HUES["black"], (0, (3, 1, 1, 1)), "<"),
    "restarted": style.Look("Algorithm 2, restarts", _HUES["vermilion"], "-", "*"),
    "certified": style.Look("Algorithm 2, certified", _HUES["purple"], "-", ">"),
    "gd": style.Look("forward-backward, 1/L_F", _HUES["grey"], "-", "s"),
    "halpern": style.Look("Halpern-FB, 1/L_F", _HUES["orange"], (0, (5, 1)), "D"),
    "halpern_long": style.Look("Halpern-FB, 1.9/L_F", _HUES["purple"], (0, (5, 1)), "v"),
    "page_half": style.Look("Algorithm 1, 0.5/L (certified)", _HUES["blue"], "-", "o"),
    "page_one": style.Look("Algorithm 1, 1/L (uncertified)", _HUES["green"], (0, (3, 1, 1, 1)), "P"),
    "page_two": style.Look("Algorithm 1, 2/L (uncertified)", _HUES["sky"], (0, (3, 1, 1, 1)), "^"),
    "svrg": style.Look("SVRG-AcFR, 0.5/L", _HUES["vermilion"], "-", "h"),
}


def log_curve(ax, x, values, look: style.Look, *, label: str | None = None, count: bool = True, **line) -> None:
    """Geometric mean over replicates with Student's interval of the logarithms; values `[points, R]`, positive."""
    from research.core.stats import t_interval

    found = t_interval(np.log(np.asarray(values, np.float64)), axis=1)
    name = look.label if label is None else label
    name = f"{name} (n = {found.n})" if count and found.n > 1 else name
    ax.plot(x, np.exp(found.mean), **{"color": look.color, "linestyle": look.linestyle, "label": name} | line)
    if found.n > 1:
        ax.fill_between(x, np.exp(found.low), np.exp(found.high), color=look.color, alpha=0.2, linewidth=0)


def race(ax, run, names, case: int = 0) -> None:
    """Natural residual against epochs really spent, for the named curves of one case; no interval without draws."""
    for name in names:
        residual = run.curves[f"residual/{name}"][..., case]
        alike = residual.max(axis=1) <= residual.min(axis=1) * (1 + 1e-6)
        shown = residual[:, :1] if alike.all() else residual
        log_curve(ax, run.curves[f"epochs/{name}"][..., case].mean(axis=1), shown, METHODS[name], linewidth=1.1)
    ax.set_yscale("log")
    epoch_axis(ax)


def epoch_axis(ax) -> None:
    """The horizontal axis of every race."""
    ax.set_xlabel("epochs (oracle calls / n)")
