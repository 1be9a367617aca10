"""Where variance reduction wins and where it loses: five problems, with the predicted winner beside each."""

from experiments.halpern import panels_contest as panels
from experiments.lib import style
from experiments.lib.tables import Measured

CONFIGS = ["configs/halpern/games.py"]
PAPER_CONFIGS = ["configs/halpern/paper_games.py"]

caption = (
    "Natural residual against epochs (component evaluations / n): geometric mean over seeds, 95 % interval. Draws by "
    "importance from the centred matrix, certified steps (EAG: the usual 0.9/L_F), Algorithm 2 as practised. Titles "
    "give L/L_F and the winner that it predicts, variance reduction (VR) below √n/3.1. Where L is near L_F, restarted "
    "Algorithm 2 is several orders ahead of the best deterministic method; on uniform entries, where L is ten times "
    "L_F, variance reduction loses."
)


def draw(runs):
    (run,) = runs
    fig, axes = style.figure("text", 0.75, 2, 3)
    ratio = run.results["lipschitz"] / run.results["lipschitz_full"]
    cases = run.axes["case"]
    for case, ax in enumerate(axes.flat):
        if case >= len(cases):
            ax.set_axis_off()
            continue
        panels.curves_panel(ax, run, case=case)
        name, size = cases[case].split()
        predicted = "VR" if run.results["predicted"][case] else "full"
        ax.set_title(f"{panels.CASES[name]}, n = {size}\nL/L_F = {ratio[case]:.2g}, predicted: {predicted}", fontsize=7)
        panels.epoch_axis(ax, "natural residual" if case % 3 == 0 else "", log=False)
    panels.legend_below(fig, axes.flat[: len(cases)], ncols=3)
    return fig


def claims(runs):
    (run,) = runs
    found, methods = {}, panels.methods(run)
    for case, label in enumerate(run.axes["case"]):
        for name in methods:
            found[f"{name}/{label}"] = panels.reached(run, name, 1.0, case, run.config.problem.shares)
    agreed = float((panels.winners(run) == run.results["predicted"]).mean())
    return {"predictions": Measured(agreed, agreed, agreed, len(run.axes["case"]))} | {
        key: value for key, value in found.items() if key in _CLAIMED
    }


_CLAIMED = {
    *(f"{name}/bilinear 400" for name in ("eg", "eag", "forb", "alg2")),
    *(f"{name}/rank5 400" for name in ("eg", "restarted")),
    *(f"{name}/policeman 400" for name in ("eg", "restarted")),
    *(f"{name}/nemirovski 1000" for name in ("eg", "eag", "forb", "vr_eg", "alg2", "restarted")),
    *(f"{name}/uniform 400" for name in ("eg", "eag", "forb", "vr_eg", "alg2")),
}
