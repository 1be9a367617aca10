"""Adult reconstruction: regret of every group, as published and as measured, for users who bring the data."""

from experiments.lib.tables import Table
from paper_figures.regret import comparison

CONFIGS = ["configs/regret/adult.py:reconstruction"]
PAPER_CONFIGS = ["configs/regret/paper_adult.py:reconstruction"]

caption = (
    "Adult reconstruction (49,531 people, label: income in dollars, scaled to [0, 1]), regret of every group, mean ± "
    "half of the 95 % t-interval over shuffles; the loss in hindsight is that of all rounds but the last, as published."
)


def table(runs):
    (run,) = runs
    rows = comparison.regret_rows(run, comparison.published("adult_reconstruction"))
    return Table(comparison.REGRET_HEADER, tuple(rows), caption, digits=2, compare=comparison.COMPARE)


def claims(runs):
    (run,) = runs
    return comparison.regret_claims(run)
