"""Every bound against 200 and more random and adversarial instances, after every round, in float64.

A replicate is one instance (`experiments.regret.instances`), on which eleven learners are played against an opponent
(`experiments.regret.contests`). A metric is the largest measured/bound of one part of one theorem so far; no theorem
allows it to exceed one. The same certificates on the data sets are logged by the experiments `medical`, `adult` and
`synthetic`; the figure shows both.
Theorems: T1 `luo:15`, T2 `vovk:01` and `azoury:01`, T3 `acharya:24`, T4 `freund:97`, T6 `blum:20` and `lee:22`.
"""

from experiments.lib import app


def program(config, mesh):
    from experiments.regret import stress

    return stress.program(config, mesh)


def main(config, run, mesh):
    from experiments.regret import panels_bounds, stress

    stress.drive(config, run, mesh)
    run.look(panels_bounds.quick_look)


if __name__ == "__main__":
    app.run(main, default_config="configs/regret/bounds.py")
