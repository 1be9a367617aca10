"""Error against cost: READ, nested Monte Carlo in two allocations, and at depth 1 the best of them.

A replicate is a repetition of every method with draws of its own; a step is one block of READ's replicates.
Metrics, `[R]`: `mean` and `deviation` of a block, the mean of its replicates and their sum of squared deviations from
it; `leaves` that it took; `running`, the mean of all blocks so far.
Results: `exact`, the value; `<allocation> [size, R]`, estimates of nested Monte Carlo, `<allocation>_leaves [size]`,
for the allocations `equal` (NMC1), `square` (NMC2) and, at depth 1, `best`.
Source: `syed:23`, section 5.
"""

from experiments.lib import app

ALLOCATIONS = ("equal", "square", "best")


def program(config, mesh):
    import jax.numpy as jnp

    from experiments.lib import lanes
    from experiments.lib.program import number
    from experiments.mlmc import nested_problems, reading
    from research.mlmc import read

    problem = nested_problems.named(config.problem.name, number(config))
    params = read.Params(
        r=tuple(config.algo.r), b=tuple(config.algo.b), block=config.algo.block, estimator=config.algo.estimator,
        leaves=config.algo.leaves, num_steps=config.run.chunk,
    )  # fmt: skip

    def advance(_, key, state):
        result = read.run(problem, params, key, state=state)
        running = jnp.where(result.status == 0, result.value, jnp.nan)
        return result.state, reading.summary(result.trace, config.algo.block) | {"running": running}

    return lanes.program(
        config, mesh, draw=lambda key: key, start=lambda key: read.init(problem, params, key), advance=advance, axes={},
        in_turn=True,
    )  # fmt: skip


def main(config, run, mesh):
    from experiments.lib import driver
    from experiments.mlmc import panels_rates

    driver.drive(program(config, mesh), config, run)
    if not run.results:
        run.results(**nested_estimates(config))
    run.look(panels_rates.quick_look)


def allocations(config, depth):
    """`name -> [N_0, ..., N_D]` of every size that the config asks for."""
    from research.mlmc import nested

    setting = config.nested
    found = {
        "equal": [nested.equal_counts(m, depth) for m in setting.equal],
        "square": [nested.square_counts(m, depth) for m in setting.square],
        "best": [nested.best_counts(budget, setting.variance, (setting.bias,) * depth) for budget in setting.best],
    }
    return {name: counts for name, counts in found.items() if counts}


def nested_estimates(config):
    """Estimates of nested Monte Carlo, one compiled program for all sizes."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    from experiments.lib.program import number
    from experiments.mlmc import nested_problems
    from research.core import prng
    from research.mlmc import nested

    problem = nested_problems.named(config.problem.name, number(config))

    @jax.jit
    def estimate(counts, key):
        return nested.estimate(problem, nested.Params(counts), key).outer.mean

    keys = prng.replicate_keys(prng.root_key(config.seed), config.run.replicates)
    found = {"exact": problem.exact}
    for name, sizes in allocations(config, problem.depth).items():
        estimates = []
        for number_of_size, counts in enumerate(sizes):
            streams = jax.vmap(lambda key, n=number_of_size, name=name: prng.per_step(prng.stream(key, name), n))(keys)
            estimates.append([float(estimate(jnp.asarray(counts, jnp.int32), key)) for key in streams])
        found[name] = np.asarray(estimates)
        found[f"{name}_leaves"] = np.asarray([nested.num_leaves(counts) for counts in sizes], np.float64)
    return found


if __name__ == "__main__":
    app.run(main, default_config="configs/mlmc/rates.py")
