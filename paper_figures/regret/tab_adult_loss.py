"""UCI Adult: cumulative loss of every group under every method."""

from experiments.lib.tables import Table, measured
from experiments.regret import panels
from experiments.regret import panels_numbers as numbers
from paper_figures.regret import comparison

CONFIGS = ["configs/regret/adult.py"]
PAPER_CONFIGS = ["configs/regret/paper_adult.py"]

caption = (
    "UCI Adult (48,842 people, label: income above 50,000 dollars), cumulative squared loss of every group, mean ± "
    "half of the 95 % t-interval over shuffles. The paper's numbers are on another data set, the Adult reconstruction."
)


def table(runs):
    (run,) = runs
    header = ("group", "rounds", "hindsight", *(panels.LOOKS[method].label for method in run.axes["method"]))
    return Table(header, tuple(comparison.loss_rows(run)), caption, digits=1, compare=tuple(range(3, len(header))))


def claims(runs):
    (run,) = runs
    losses = {method: numbers.final_loss(run, method) for method in ("baseline", "anh", "anh_mean", "aa")}
    losses["hindsight"] = run.results["hindsight"][-1]
    return {
        f"{method}/{group}": measured(loss[:, g])
        for method, loss in losses.items()
        for g, group in enumerate(run.axes["group"])
    }
