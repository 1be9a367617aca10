"""Is the free set what the guarantee needs? Exact marginals, negative dependence, and simulated counts.

A replicate sees a new random instance at every step, with a random feasible x, so that discards are common; every other
one is rescaled. Modes: those of `rounding`, "typed" (the closed form with types), and "naive", pivotal sampling whose
proposers all leave if somebody arrives and all stay otherwise: the rule that discarding replaces.
Metrics, `[R]`, of the step's instance: `marginal/<mode>`, the largest |P[i is free before t] - (1 - h(y_it))|, and
`dependence/<mode>`, the largest P[A all free] - prod, or P[A all gone] - prod, over node sets A and times. Of the
simulated closed form, `[R, pair]`: `free`, runs in which i is free before t, and `survival`, how likely that is.
Results: `naive_slack [p, r]`, the dependence of two nodes with rate r after one time with arrival probability p.
Source: `braverman:24`.
"""

from experiments.lib import app

MODES = ("pivotal", "closed_form", "independent", "bins", "naive", "typed")
GRID = tuple((k + 0.5) / 25 for k in range(25))


def program(config, mesh):
    import jax
    import jax.numpy as jnp

    from experiments.lib import lanes
    from experiments.lib.program import number
    from experiments.matching import audits
    from research.core import prng
    from research.matching import rates, rounding, simulation

    setting, dtype = config.problem, number(config)

    def advance(_, key, step):
        drawn = prng.per_step(prng.stream(key, "instance"), step)
        scale = jnp.asarray(step % 2, dtype)
        rescaling = rates.Rescaling(config.algo.eps * scale, config.algo.delta * scale)
        metrics, laws, survivals = {}, {}, {}
        for types in (0, setting.types):
            problem, x = audits.instance(
                prng.stream(drawn, f"types{types}"), setting.nodes, setting.steps, types, dtype
            )
            rounded = rounding.from_allocation(problem, x, rescaling)
            wanted = rates.survival(x, rescaling).T
            for mode in ("typed",) if types else MODES[:-1]:
                laws[mode], survivals[mode] = audits.free_law(rounded, mode, rescaling.threshold), wanted
            if not types:
                keys = lanes.run_keys(drawn, 0, config.run.runs)
                counts = simulation.simulate(rounded, keys, count_free=True, validate=False).free
                metrics |= {"free": counts.reshape(-1), "survival": wanted.reshape(-1)}
        stacked = jnp.stack(list(laws.values())), jnp.stack(list(survivals.values()))
        marginals, slacks = jax.lax.map(lambda one: audits.errors(*one), stacked)
        for mode, marginal, slack in zip(laws, marginals, slacks, strict=True):
            metrics |= {f"marginal/{mode}": marginal, f"dependence/{mode}": slack}
        return step + 1, metrics

    pairs = tuple(f"{i} before {t}" for t in range(setting.steps + 1) for i in range(setting.nodes))
    return lanes.program(
        config, mesh, draw=lambda key: key, start=lambda _: jnp.int32(0), advance=advance, axes={"pair": pairs}
    )  # fmt: skip


def main(config, run, mesh):
    from experiments.lib import driver
    from experiments.matching import audits, panels_law

    driver.drive(program(config, mesh), config, run)
    if not run.results:
        run.results(naive_slack=audits.naive_slack(GRID, GRID), grid=GRID)
    run.look(panels_law.quick_look)


if __name__ == "__main__":
    app.run(main, default_config="configs/matching/law.py")
