"""Shortest paths in random and adversarial traffic: a perturbed leader per group, and AdaNormalHedge over the groups.

Every replicate is an instance of its own. Regret of every group against its best path in hindsight, beside the bounds
of theorems T5 (`kalai:05`, in expectation) and T1 (`luo:15`, for every outcome).
Metrics and the two laws of traffic: `experiments.regret.traffic`.
"""

from experiments.lib import app


def program(config, mesh):
    from experiments.regret import traffic

    return traffic.program(config, mesh)


def main(config, run, mesh):
    from experiments.lib import driver
    from experiments.regret import panels_paths, traffic

    driver.drive(traffic.program(config, mesh), config, run)
    run.look(panels_paths.quick_look)


if __name__ == "__main__":
    app.run(main, default_config="configs/regret/paths.py")
