"""The rounding on the instance built against it: simulated value over LP-OnOpt beside its closed form and rho.

`problems.hard_edge(m, s, eta)` has m nearly exhausted nodes and a fresh one; the LP's optimum is known, so no solver
stands between the instance and the number. Rescaled, the worst s gives rho(eps, delta) as m grows; unscaled 1 - 1/e.
A step is one run of every case. Metrics: `<scaling>/<m>`, mean of value / LP over the runs so far, `[R, s]`.
Results: `formula/<scaling>/<m> [s]`, and `philosopher [s]`, the best online policy's share of the LP at the smallest m.
Source: `braverman:24`.
"""

from experiments.lib import app

#: Rescaling by the name that metrics give it: with the config's (eps, delta), and none.
SCALINGS = ("scaled", "unscaled")


def program(config, mesh):
    import jax
    import jax.numpy as jnp

    from experiments.lib import lanes
    from research.matching import problems, rates, rounding, simulation

    setting, chunk = config.problem, config.run.chunk
    rescalings = (rates.Rescaling(config.algo.eps, config.algo.delta), rates.VERTEX)
    names = [f"{scaling}/{m}" for m in setting.exhausted for scaling in SCALINGS]

    def common():
        """Of every m the cases `[scaling, s]`: the problem of rounding, and the LP's value."""

        def case(m, s, rescaling):
            problem, x = problems.hard_edge(m, s, setting.eta)
            return rounding.from_allocation(problem, x, rescaling), jnp.sum(problem.weights * x)

        return [
            _stack([_stack([case(m, s, h) for s in setting.poisson]) for h in rescalings]) for m in setting.exhausted
        ]

    def start(key):
        del key
        return jnp.int32(0), {name: jnp.zeros(len(setting.poisson)) for name in names}

    def advance(cases, key, state):
        first, totals = state
        keys = lanes.run_keys(key, first, chunk)

        def one(case):
            rounded, lp = case
            return jnp.mean(simulation.simulate(rounded, keys, validate=False).value) / lp

        added = jnp.concatenate([jax.lax.map(lambda of_s: jax.lax.map(one, of_s), of_m) for of_m in cases])
        totals = {name: totals[name] + row for name, row in zip(names, added, strict=True)}
        done = first + chunk
        return (done, totals), {name: total * chunk / done for name, total in totals.items()}

    def _stack(trees):
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)

    axes = {"poisson": tuple(f"{s:g}" for s in setting.poisson), "exhausted": tuple(map(str, setting.exhausted))}
    return lanes.program(
        config, mesh, draw=lambda key: key, start=start, advance=advance, axes=axes, common=common
    )  # fmt: skip


def main(config, run, mesh):
    from experiments.lib import driver
    from experiments.matching import panels_worst_case

    driver.drive(program(config, mesh), config, run)
    if not run.results:
        run.results(**exact(config))
    run.look(panels_worst_case.quick_look)


def exact(config):
    """The closed form for every m, and the philosopher by dynamic programming for the smallest."""
    import jax
    import jax.numpy as jnp

    from research.matching import bounds, philosopher, problems

    shares = jnp.asarray(config.problem.poisson)
    found = {}
    for m in config.problem.exhausted:
        for name, (eps, delta) in zip(SCALINGS, ((config.algo.eps, config.algo.delta), (0.0, 0.0)), strict=True):
            found[f"formula/{name}/{m}"] = bounds.hard_edge_ratio(m, shares, eps, delta)
    cases = [problems.hard_edge(min(config.problem.exhausted), s, config.problem.eta) for s in config.problem.poisson]
    instances, x = jax.tree.map(lambda *leaves: jnp.stack(leaves), *cases)
    best = jax.jit(jax.vmap(lambda one: philosopher.solve(one, validate=False).value))(instances)
    return found | {"philosopher": best / jnp.sum(instances.weights * x, axis=(1, 2))}


if __name__ == "__main__":
    app.run(main, default_config="configs/matching/worst_case.py")
