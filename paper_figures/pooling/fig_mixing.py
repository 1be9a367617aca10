"""Time of mixing tokens by their number."""

from experiments.lib import style
from experiments.pooling import panels_mixing as panels

CONFIGS = ["configs/pooling/mixing.py"]
PAPER_CONFIGS = ["configs/pooling/paper_mixing.py"]

caption = (
    "Seconds that one mix of all tokens takes, compilation apart: PoNet's pooled summaries and softmax attention with "
    "queries in blocks, 64 channels in four heads. Dots: laps; lines: the fastest lap, with the slope of a fit to "
    "it over n numbers of tokens; grey: slopes 1 and 2 through its last point."
)


def draw(runs):
    (run,) = runs
    fig, ax = style.figure("column", 0.8)
    panels.time_panel(ax, run)
    return fig


def claims(runs):
    (run,) = runs
    mixers = ("PoNet", "attention")
    counted = {f"operations/{mixer}": panels.counted_slope(run, mixer) for mixer in mixers}
    return counted | {f"slope/{mixer}": panels.slope(run, mixer) for mixer in mixers}
