"""What roundings and policies earn of LP-OnOpt and of the philosopher, by family of instances and by size.

A step is a case, a family at a size; a replicate is an instance of every case. Metrics, `[R]`: `value/<contender>`
(`experiments.matching.contenders`), and `primal` and `dual`, the certified bounds on LP-OnOpt.
Results, `[cases, R]`: `value/fgl`, `value/half`, `ex_ante` and `highs` (LP-OnOpt by an independent solver).
Source: `braverman:24` for the algorithm, `hayderi:24` for the families.
"""

from experiments.lib import app


def program(config, mesh):
    import jax
    import jax.numpy as jnp

    from experiments.lib import lanes
    from experiments.lib.program import number
    from experiments.matching import contenders, families
    from research.matching import exact_law

    cases = config.problem.cases
    small = max(case[2] for case in cases) <= exact_law.MAX_NODES

    def draw(key):
        return key, families.draw(key, cases, number(config))

    def advance(_, drawn, case):
        key, batch = drawn
        problem = jax.tree.map(lambda leaf: leaf[case], batch)
        found = contenders.relaxed(problem, config.algo.tolerance)
        if small:
            values = contenders.exact_values(problem, found)
        else:
            values = contenders.simulated_values(problem, found, lanes.run_keys(key, 0, config.run.runs))
        metrics = {f"value/{name}": value for name, value in values.items()}
        return case + 1, metrics | {"primal": found.primal, "dual": found.dual}

    axes = {"case": tuple(map(families.label, cases))}
    return lanes.program(config, mesh, draw=draw, start=lambda _: jnp.int32(0), advance=advance, axes=axes)


def main(config, run, mesh):
    import jax

    from experiments.lib import driver
    from experiments.matching import contenders, panels_ratio

    (_, (_, instances)), _ = driver.drive(program(config, mesh), config, run)
    if not run.results and max(case[2] for case in config.problem.cases) <= 12:
        replicates, num_cases = instances.weights.shape[:2]
        flat = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), instances)
        found = contenders.ex_ante_values(flat)
        run.results(**{name: array.reshape(replicates, num_cases).T for name, array in found.items()})
    run.look(panels_ratio.quick_look)


if __name__ == "__main__":
    app.run(main, default_config="configs/matching/ratio.py")
