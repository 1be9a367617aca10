"""What each choice of the group learner is worth on medical costs: lambda, clipping, combination rule, aggregator,
forecaster, the group of everybody; and simpler learners beside it. Differences are paired, shuffle by shuffle.

Default: AdaNormalHedge on clipped predictions, loss of the average, ridge experts with lambda = 1, twelve groups.
Source: `acharya:24`, Section 4, whose own choices are the variant "paper".
"""

from experiments.lib import app


def program(config, mesh):
    from experiments.regret import sources, variants

    return variants.program(config, mesh, sources.medical(config.problem.source))


def main(config, run, mesh):
    from experiments.regret import panels_ablation, sources, variants

    variants.drive(config, run, mesh, sources.medical(config.problem.source))
    run.look(panels_ablation.quick_look)


if __name__ == "__main__":
    app.run(main, default_config="configs/regret/ablation.py")
