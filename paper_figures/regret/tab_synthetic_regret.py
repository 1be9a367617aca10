"""Synthetic law, four labels: regret of every group after 100,000 rounds, as published and as measured."""

from experiments.lib.tables import Table
from paper_figures.regret import comparison

_ARGUMENTS = ("", ":min", ":max", ":dperm")
CONFIGS = [f"configs/regret/synthetic.py{argument}" for argument in _ARGUMENTS]
PAPER_CONFIGS = [f"configs/regret/paper_synthetic.py{argument}" for argument in _ARGUMENTS]

caption = (
    "Synthetic law, regret of every group after all rounds, mean ± half of the 95 % t-interval over shuffles; the loss "
    "in hindsight is that of all rounds but the last, as in the published table."
)


def table(runs):
    known = comparison.published("synthetic_regret")
    rows = []
    for run in runs:
        label = run.config.problem.label
        rows += comparison.regret_rows(run, known, f"{label}/", labels=(label,))
    compare = tuple(1 + k for k in comparison.COMPARE)
    return Table(("label", *comparison.REGRET_HEADER), tuple(rows), caption, digits=3, compare=compare)


def claims(runs):
    found = {}
    for run in runs:
        found |= comparison.regret_claims(run, f"{run.config.problem.label}/")
    return found
