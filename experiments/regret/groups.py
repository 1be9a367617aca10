"""Loss, bound and time per round against the number of groups: nested families up to 1,024 intersectional groups.

AdaNormalHedge against the specialist Aggregating Algorithm, with a uniform prior and with one that halves with every
condition of a group. Bounds: T1 `luo:15`, growing with sqrt(ln G); T4 `freund:97`, ln(G)/2 for the uniform prior.
`problem.data_set`: "medical" (real), "adult" (real), "coded_law" (the paper's synthetic law with more attributes).
"""

from experiments.lib import app


def program(config, mesh):
    from experiments.regret import families, scaling

    return scaling.program(config, mesh, families.source(config.problem))


def main(config, run, mesh):
    from experiments.lib import driver
    from experiments.regret import panels_groups

    driver.drive(program(config, mesh), config, run)
    run.look(panels_groups.quick_look)


if __name__ == "__main__":
    app.run(main, default_config="configs/regret/groups.py")
