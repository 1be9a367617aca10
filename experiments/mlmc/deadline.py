"""Stopping by time: pooling what many workers have completed at a deadline, and the rule that is unbiased.

A replicate is a set of workers; a worker runs READ's replicates one after another and has the time for so many leaves.
A step is a block of replicates without a deadline. Metrics, `[R]`: `fixed`, the mean of all blocks so far.
Results: `exact`; `budgets [budget]`, leaves of a worker; `pooled` and `rule`, `[budget, R]`, means over the workers of
a set: of all completed replicates, and of each worker's own mean, its first replicate always finished.
Source: `glynn:90` for the rule; the numbers are ours.
"""

from experiments.lib import app


def _params(config):
    from research.mlmc import read

    return read.Params(r=tuple(config.algo.r), block=config.algo.block, num_steps=config.run.chunk)


def program(config, mesh):
    from experiments.lib import lanes
    from experiments.lib.program import number
    from experiments.mlmc import nested_problems
    from research.mlmc import read

    problem, params = nested_problems.named(config.problem.name, number(config)), _params(config)

    def advance(_, key, state):
        result = read.run(problem, params, key, state=state)
        return result.state, {"fixed": result.value}

    return lanes.program(
        config, mesh, draw=lambda key: key, start=lambda key: read.init(problem, params, key), advance=advance, axes={},
        in_turn=True,
    )  # fmt: skip


def main(config, run, mesh):
    from experiments.lib import driver
    from experiments.mlmc import panels_deadline

    driver.drive(program(config, mesh), config, run)
    if not run.results:
        run.results(**stopped(config))
    run.look(panels_deadline.quick_look)


def stopped(config):
    """Both means for every set of workers and every budget."""
    import numpy as np

    from experiments.lib.program import number
    from experiments.mlmc import nested_problems
    from research.core import prng
    from research.mlmc import deadline, read, words

    problem = nested_problems.named(config.problem.name, number(config))
    # A replicate has at least one leaf, so that nobody runs out of replicates before the last budget.
    count, longest = config.problem.workers, max(config.problem.budgets)
    pooled, rule = [], []
    for key in prng.replicate_keys(prng.root_key(config.seed), config.run.replicates):
        seed = words.seed_words(key, "workers")
        ran = read.replicates(problem, _params(config), seed, np.arange(count * longest))
        shaped = (np.asarray(x).reshape(count, longest) for x in (ran.value, ran.leaves))
        workers = deadline.Workers(*shaped)
        pooled.append([deadline.pooled_mean(workers, budget) for budget in config.problem.budgets])
        rule.append([deadline.rule_mean(workers, budget)[0] for budget in config.problem.budgets])
    found = {"pooled": np.array(pooled).T, "rule": np.array(rule).T}
    return found | {"budgets": np.array(config.problem.budgets), "exact": problem.exact}


if __name__ == "__main__":
    app.run(main, default_config="configs/mlmc/deadline.py")
