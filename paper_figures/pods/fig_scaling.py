"""Weak and strong scaling on paper: efficiency of one experiment of each family on 1 to 4,096 chips."""

from matplotlib.lines import Line2D

from experiments.lib import scaling, scaling_page, style

#: No run: what is stored of compiled programs.
CONFIGS = []
PAPER_CONFIGS = []
SOURCES = ["experiments/scaling.json"]

caption = (
    "Estimates, not measurements: efficiency on v5e by the model of experiments/SCALING.md, from what a compiler "
    "(libtpu, of the version in the title) counts in the program of each number of chips: 1, 16 (4x4), 256 (16x16) and "
    "4,096 (16 slices). Left: as much to do for every chip, T(1) / T(P). Right: what 256 chips are meant for, split "
    "further, p T(p) / (P T(P)), p the fewest chips that it fits on. Filled: compiled for that number; open: it "
    "follows from another, because a chip does the same or more of them have nothing to do. Dotted: half."
)
TITLES = {"weak": "weak scaling: work in proportion to chips", "strong": "strong scaling: the work of 256 chips"}
_COLORS = [style.PALETTE[name] for name in ("blue", "vermilion", "green", "purple", "orange", "black")]
_MARKERS = "osD^vP"


def draw(runs):
    page = scaling_page.read()
    names = sorted({point.config for point in page.points})
    fig, axes = style.figure("text", 0.5, 1, 2, sharey=True)
    for ax, mode in zip(axes.flat, scaling.MODES, strict=True):
        for name, color, marker in zip(names, _COLORS, _MARKERS, strict=True):
            _curve(ax, [point for point in page.points if point.config == name], mode, name, color, marker)
        ax.axhline(0.5, linestyle=":", color=style.PALETTE["grey"], linewidth=0.9, label="_half")
        ax.set_xscale("log", base=2)
        style.plain_ticks(ax.xaxis, list(scaling.TARGETS))
        ax.set_xlabel("chips")
        ax.set_ylim(0, 1.08)
        ax.set_title(TITLES[mode])
    axes.flat[0].set_ylabel("efficiency")
    fig.suptitle(f"Estimates from programs compiled by {page.compiler}, not measurements", fontweight="bold")
    handles = [
        Line2D([], [], color=color, marker=marker, label=name)
        for name, color, marker in zip(names, _COLORS, _MARKERS, strict=True)
    ]
    fig.legend(handles=handles, loc="outside lower center", ncols=3)
    return fig


def _curve(ax, points, mode, name, color, marker):
    estimates = scaling.curve(points, mode)
    if not estimates:
        return
    shares = scaling.efficiencies(estimates, mode)
    ax.plot([one.chips for one in estimates], shares, color=color, linewidth=1.0, label=name)
    for share, one in zip(shares, estimates, strict=True):
        how, fill = ("compiled", color) if one.compiled else ("follows", "white")
        ax.scatter([one.chips], [share], s=20, marker=marker, edgecolors=color, facecolors=fill, linewidths=0.9,
                   zorder=3, label=f"{name}, {how}")  # fmt: skip
