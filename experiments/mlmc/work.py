"""Work-normalised variance, variance of a replicate times its expected leaves, over r and between estimators.

A step is one cell (r_0, r_1, ...), and all cells are one compiled program; at every one a replicate sees `run.blocks`
blocks of READ's replicates, of the same ids.
Metrics, `[R]`, of the step's cell: `variance/<method>` and `mean/<method>`, of the estimators of `algo.methods`:
"single", "coupled", "block", and "sobol", the single term on randomised nets of leaves; `leaves`, a replicate's mean
without nets. Nets, whose second differences fall faster, are seen at rates of their own, `problem.nets`.
Results: `exact`; `rates [cell, D]`, the cells, of which the first `inside` are those of `problem.rates`; `nets
[cell, D]`, those of "sobol"; with one nesting `closed [2, point]`, r and the closed form for the single term.
Source: `syed:23`, section 5, for the map over r; estimators as in `research.mlmc.read`.
"""

from experiments.lib import app


def cells(config) -> tuple[tuple[float, ...], ...]:
    """(r_0, ..., r_{D-1}) of every step: the full grid of `problem.rates`, a list of values per depth, then another."""
    import itertools

    grids = [config.problem.rates, config.problem.outside]
    return tuple(cell for grid in grids if len(grid) for cell in itertools.product(*grid))


def nets(config) -> tuple[tuple[float, ...], ...]:
    """The same of nets."""
    return tuple((rate,) for rate in config.problem.nets) or cells(config)


def program(config, mesh):
    import dataclasses

    import jax
    import jax.numpy as jnp

    from experiments.lib import lanes
    from experiments.lib.program import number
    from experiments.mlmc import nested_problems
    from research.mlmc import engine, levels, moments, read, words

    problem, grid = nested_problems.named(config.problem.name, number(config)), cells(config)
    tables = {
        sobol: [levels.tabulate(rates, number(config)) for rates in zip(*which, strict=True)]
        for sobol, which in ((False, grid), (True, nets(config)))
    }

    def planned(method, step):
        leaves, estimator = ("sobol", "single") if method == "sobol" else ("random", method)
        params = read.Params(
            r=grid[0], b=tuple(config.algo.b), block=config.algo.block, estimator=estimator, leaves=leaves
        )
        laws = tuple(jax.tree.map(lambda x: x[step], table) for table in tables[method == "sobol"])
        return dataclasses.replace(read.plan(problem, params), laws=laws)

    def measured(method, key, step):
        seed = words.seed_words(key, "read")
        plan = planned(method, step)

        def block(carry, first):
            found, count = carry
            ids = words.next_ids((first, jnp.uint32(0)), jnp.arange(config.algo.block, dtype=jnp.uint32))
            ran = engine.block(problem, plan, (seed[0], seed[1]), ids, jnp.ones(config.algo.block, bool))
            found = moments.merge(found, moments.of_batch(ran.value, jnp.ones(config.algo.block, bool)))
            return (found, count + ran.leaves.sum().astype(count.dtype)), None

        firsts = jnp.arange(config.run.blocks, dtype=jnp.uint32) * config.algo.block
        empty = moments.start(dtype=number(config))
        (found, count), _ = jax.lax.scan(block, (empty, empty.mean), firsts)
        return found, count / (config.run.blocks * config.algo.block)

    def advance(_, key, step):
        metrics = {}
        for method in config.algo.methods:
            found, leaves = measured(method, key, step)
            metrics |= {f"variance/{method}": moments.variance(found, 1), f"mean/{method}": found.mean}
            if method != "sobol":
                metrics["leaves"] = leaves
        return step + 1, metrics

    return lanes.program(
        config, mesh, draw=lambda key: key, start=lambda _: jnp.int32(0), advance=advance, axes={}, in_turn=True
    )


def main(config, run, mesh):
    import math

    from experiments.lib import driver
    from experiments.mlmc import nested_problems, panels_work

    driver.drive(program(config, mesh), config, run)
    if not run.results:
        problem, grid = nested_problems.named(config.problem.name, "float32"), cells(config)
        outside = math.prod(map(len, config.problem.outside)) if config.problem.outside else 0
        closed = {"closed": closed_form(problem, grid, config.algo.b[0])} if problem.depth == 1 else {}
        run.results(rates=grid, nets=nets(config), inside=len(grid) - outside, exact=problem.exact, **closed)
    run.look(panels_work.quick_look)


def closed_form(problem, grid, base):
    """r and work-normalised variance of the single term `[2, 60]`, where the latter is finite."""
    import numpy as np

    from research.mlmc import second_moments

    rates = np.linspace(min(grid)[0], min(max(grid)[0], 0.735), 60)
    return rates, [second_moments.work_normalised_variance(problem, rate, base) for rate in rates]


if __name__ == "__main__":
    app.run(main, default_config="configs/mlmc/work.py")
