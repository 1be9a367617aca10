"""Medical costs: regret of every group after all rounds, as published and as measured."""

from experiments.lib.tables import Table
from paper_figures.regret import comparison

CONFIGS = ["configs/regret/medical.py"]
PAPER_CONFIGS = ["configs/regret/paper_medical.py"]

caption = (
    "Medical costs, regret of every group after all rounds, mean ± half of the 95 % t-interval over ten shuffles; the "
    "loss in hindsight is that of all rounds but the last, as in the published table."
)


def table(runs):
    rows = comparison.regret_rows(runs[0], comparison.published("medical_regret"))
    return Table(comparison.REGRET_HEADER, tuple(rows), caption, digits=3, compare=comparison.COMPARE)


def claims(runs):
    return comparison.regret_claims(runs[0])
