"""Strong convexity of the population's dual along the path of a bias, and what margins of a batch say of it."""

from experiments.balancing import panels_strong_convexity as panels
from experiments.lib import style

CONFIGS = ["configs/balancing/strong_convexity.py"]
PAPER_CONFIGS = ["configs/balancing/paper_strong_convexity.py"]

caption = (
    "Proportional steps from a bias of zero, four families of scores whose experts differ in location and scale. Left: "
    "modulus of strong convexity, the second eigenvalue of the Hessian H (lines), and the mean of its nonzero "
    "eigenvalues (dashed), both by quadrature. Middle: the latter by the margins between the last chosen and the first "
    "refused expert of fresh tokens, one point a batch; the shade is 10 %. Right: a Gumbel router's modulus "
    "and its lower bound by the spread of a + p; at balance both are 1 / E (thin line)."
)


def draw(runs):
    (run,) = runs
    fig, axes = style.figure("text", 0.38, 1, 3)
    for ax, panel in zip(axes[0], (panels.path_panel, panels.estimate_panel, panels.router_panel), strict=True):
        panel(ax, run)
        ax.legend(fontsize=6)
    return fig


def claims(runs):
    (run,) = runs
    found = {f"margin/{kind}": panels.estimation(run, kind) for kind in run.axes["kind"]}
    return found | {"error": panels.largest_error(run), "router": panels.tightness(run)}
