"""What each choice of the rounding is worth: how losers are treated, and how x is rescaled. Exact values.

A step is a family; a replicate an instance of each, rounded from the same solution of LP-OnOpt. Metrics: `dual [R]`,
the bound on the LP; `<mode>` `[R, scaling]`, the values of `rounding`'s modes without rescaling, with the parameters of
`naor:25`, and with those of `braverman:24`; `grid` `[R, point]`, the closed form's at all pairs (eps, delta).
Source: `braverman:24`.
"""

from experiments.lib import app

MODES = ("closed_form", "pivotal", "bins", "independent", "keep")


def program(config, mesh):
    import jax
    import jax.numpy as jnp

    from experiments.lib import lanes
    from experiments.lib.program import number
    from experiments.matching import contenders, families
    from research.matching import exact_law, rates, rounding

    cases, dtype = config.problem.cases, number(config)
    named = {"none": rates.VERTEX, "naor:25": rates.NSW, "braverman:24": rates.EDGE}
    scalings = rates.Rescaling(*(jnp.asarray([getattr(h, f) for h in named.values()], dtype) for f in ("eps", "delta")))
    pairs = jnp.asarray([(eps, delta) for eps in config.algo.eps for delta in config.algo.delta], dtype)
    every = jax.tree.map(lambda *parts: jnp.concatenate(parts), scalings, rates.Rescaling(*pairs.T))

    def advance(_, batch, case):
        problem = jax.tree.map(lambda leaf: leaf[case], batch)
        found = contenders.relaxed(problem, config.algo.tolerance)

        def value(rescaling, mode):
            params = rounding.Params(mode=mode, theta=rescaling.threshold if mode == "bins" else None)
            rounded = rounding.from_allocation(problem, found.x, rescaling)
            return exact_law.law(rounded, params, validate=False).value

        metrics = {
            mode: jax.lax.map(lambda h, mode=mode: value(h, mode), every if mode == "closed_form" else scalings)
            for mode in MODES
        }
        metrics["closed_form"], metrics["grid"] = jnp.split(metrics["closed_form"], [len(named)])
        return case + 1, metrics | {"dual": found.dual}

    axes = {
        "case": tuple(map(families.label, cases)), "scaling": tuple(named),
        "point": tuple(f"{eps:g}, {delta:g}" for eps in config.algo.eps for delta in config.algo.delta),
    }  # fmt: skip
    draw, start = lambda key: families.draw(key, cases, dtype), lambda _: jnp.int32(0)
    return lanes.program(config, mesh, draw=draw, start=start, advance=advance, axes=axes)


def main(config, run, mesh):
    from experiments.lib import driver
    from experiments.matching import panels_ablation

    driver.drive(program(config, mesh), config, run)
    run.look(panels_ablation.quick_look)


if __name__ == "__main__":
    app.run(main, default_config="configs/matching/ablation.py")
