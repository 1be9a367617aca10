"""Accuracy against demographic parity on Adult, one example at a time: the fair oblique forest and what it must beat.

Every replicate is a random start; the 32,561 training records come in file order, the protected class is the sex. This
is fairness between two classes, another goal than small regret on every group.
Source: `basu-roy-chowdhury:24`. Learners: `experiments.regret.fair_learners`.
"""

from experiments.lib import app


def program(config, mesh):
    from experiments.regret import fair_learners

    return fair_learners.program(config, mesh)


def main(config, run, mesh):
    from experiments.lib import driver
    from experiments.regret import fair_learners, panels_fairness

    data, state = driver.drive(fair_learners.program(config, mesh), config, run)
    if "majority_accuracy" not in run.results:
        run.results(**fair_learners.majority_line(data, state))
    if "hoeffding_accuracy" not in run.results:
        run.results(**fair_learners.hoeffding(data, run.curves["step"]))
    run.look(panels_fairness.quick_look)


if __name__ == "__main__":
    app.run(main, default_config="configs/regret/fairness.py")
