"""Residuals that six methods reach at the budget of each problem, with the predicted winner."""

from experiments.halpern import panels_contest as panels
from experiments.halpern import panels_looks as looks
from experiments.lib.tables import Table

CONFIGS = ["configs/halpern/games.py"]
PAPER_CONFIGS = ["configs/halpern/paper_games.py"]

caption = (
    "log10 of the natural residual at the end of the budget, mean over seeds, half of the 95 % t-interval; L/L_F, and "
    "whether variance reduction (VR) or full operators are predicted to win."
)


def table(runs):
    (run,) = runs
    methods = panels.methods(run)
    ratio = run.results["lipschitz"] / run.results["lipschitz_full"]
    rows = []
    for case, label in enumerate(run.axes["case"]):
        name, size = label.split()
        spent = f"{run.config.problem.cases[[row[0] for row in run.config.problem.cases].index(name)][2]:g}"
        predicted = "VR" if run.results["predicted"][case] else "full"
        reached = [panels.log_reached(run, method, case) for method in methods]
        rows.append((panels.CASES[name], int(size), spent, f"{ratio[case]:.2f}", predicted, *reached))
    header = ("problem", "n", "epochs", "L/L_F", "predicted", *(looks.METHODS[name].label for name in methods))
    return Table(header, tuple(rows), caption, digits=2, compare=tuple(range(5, 5 + len(methods))))
