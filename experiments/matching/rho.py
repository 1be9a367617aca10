"""rho(eps, delta) in closed form, and the worst configurations that a search finds against every pair.

A replicate is an independent search, a step one more round of hill climbs at every pair (eps, delta). Metrics:
`worst [R, point]`, the least E[min(1, X)] / sum z found so far; no metric below rho is evidence for the closed form.
Results: `rho` and `twins` `[eps, delta]`: the closed form on the grid, and the worst of many equal nodes there; `alone
[k]`, `worst_alone [k]` and `configuration [k, 2 m + 3]` at the pairs that the figure names: the closed form, the worst
of a longer search, and its arrival probability, uses and masses.
Source: `braverman:24` for the constant; the search is our own (`research.matching.adversary`).
"""

from experiments.lib import app

#: Published pairs: `braverman:24`, `naor:25`, and no rescaling.
NAMED = ((0.11, 0.18), (0.048, 0.0643), (0.0, 0.0))


def program(config, mesh):
    import jax
    import jax.numpy as jnp

    from experiments.lib import lanes
    from experiments.lib.program import number
    from research.core import prng
    from research.matching import adversary

    dtype, search = number(config), config.algo.search.to_dict()
    pairs = jnp.asarray([(eps, delta) for eps in config.problem.eps for delta in config.problem.delta], dtype)

    def advance(_, key, state):
        step, worst = state

        def against(point):
            pair, index = point
            drawn = prng.per_step(prng.per_step(key, step), index)
            return adversary.search(
                drawn, pair[0], pair[1], arrivals=jnp.asarray(adversary.ARRIVALS, dtype), **search
            ).ratio

        found = jax.vmap(against)((pairs, jnp.arange(len(pairs))))
        worst = jnp.minimum(worst, found)
        return (step + 1, worst), {"worst": worst}

    def start(key):
        del key
        return jnp.int32(0), jnp.ones(len(pairs), dtype)

    points = tuple(f"{eps:g}, {delta:g}" for eps in config.problem.eps for delta in config.problem.delta)
    return lanes.program(config, mesh, draw=lambda key: key, start=start, advance=advance, axes={"point": points})


def main(config, run, mesh):
    from experiments.lib import driver
    from experiments.matching import panels_rho

    driver.drive(program(config, mesh), config, run)
    if not run.results:
        run.results(**closed_forms(config))
    run.look(panels_rho.quick_look)


def closed_forms(config):
    """rho on the grid and at the named pairs, with the worst of a longer search at those."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    from experiments.lib.program import number
    from experiments.matching import twins
    from research.core import prng
    from research.matching import adversary, bounds

    dtype, search = number(config), config.algo.search.to_dict()
    eps, delta = (jnp.asarray(values, dtype) for values in zip(*NAMED, strict=True))
    search["num_steps"] = config.algo.longer
    arrivals = jnp.asarray(adversary.ARRIVALS, dtype)
    key = prng.stream(prng.root_key(config.seed), "longer")
    found = jax.jit(jax.vmap(lambda e, d: adversary.search(key, e, d, arrivals=arrivals, **search)))(eps, delta)
    axes = (jnp.asarray(config.problem.eps, dtype)[:, None], jnp.asarray(config.problem.delta, dtype)[None])
    flat = [np.asarray(leaf).reshape(len(NAMED), -1) for leaf in (found.arrival, *found.configuration)]
    equal = jax.jit(jax.vmap(jax.vmap(twins.least, (None, 0)), (0, None)))(axes[0][:, 0], axes[1][0])
    return {
        "rho": bounds.rho(*axes).ratio, "twins": equal, "alone": bounds.rho(eps, delta).ratio,
        "worst_alone": found.ratio, "configuration": np.concatenate(flat, axis=1),
    }  # fmt: skip


if __name__ == "__main__":
    app.run(main, default_config="configs/matching/rho.py")
