"""CARPool on spectra of N-body simulations: how much variance a cheap simulation of the same seed takes away.

A replicate is a group of pairs. A step is one pair of it: the slow simulator and every surrogate from one white noise,
`extra` more runs of each surrogate for its mean, and a slow run of its own seed, against which the estimate is checked.
With a chunk above 1 a row is the mean over its pairs. Surrogates, by their steps: 0 is second order perturbation
theory alone, s > 0 the particle mesh with s steps.
Metrics `[R, shell]`, (Mpc/h)^3, for matter and two kinds of tracer: `slow/<kind>`, `check/<kind>`,
`fast<s>/<kind>`, `mean<s>/<kind>`. Results: `wave_number` `[shell]`; for each surrogate and kind `[shell]` the variance
reduction out of sample with its interval (`reduction`, `low`, `high`), by kind of beta, and `explained`, R^2; for each
group `[R, shell]` the mean of its slow runs (`plain`), of the independent ones (`check`) and its `estimate`, in units
of the mean spectrum; `surrogate_error` `[shell]`, the standard error that the surrogate's mean adds to every estimate.
Source: `chartier:21`, `ding:24`.
"""

from experiments.lib import app

KINDS = ("matter", "lrg", "elg")


def program(config, mesh):
    import jax
    import jax.numpy as jnp
    import numpy as np

    from experiments.lib import lanes
    from experiments.lib.program import number
    from research.core import prng
    from research.mlmc import cosmology, lagrangian, painting, particle_mesh, spectra, tracers

    dtype, problem, slow = number(config), config.problem, config.algo.slow
    universe = particle_mesh.Problem(cosmology.Cosmology(), jnp.asarray(problem.box, dtype))
    edges, points = spectra.shells(problem.particles, problem.width), 2 * problem.particles
    kept = {kind: tracers.Occupation(**problem[kind]) for kind in KINDS[1:]}

    def summary(key, displacement):
        """Spectra of matter and tracers; the coins of the tracers belong to the seed as the white noise does."""
        at = particle_mesh.positions(universe, displacement, points)
        density = tracers.density_at(at / 2, problem.particles)
        chance = [tracers.probability(occupation, density) for occupation in kept.values()]
        chosen = [tracers.thinned(prng.stream(key, kind), p) for kind, p in zip(kept, chance, strict=True)]

        def spectrum(weights):
            return spectra.power(spectra.contrast(painting.paint(at, points, weights)), edges, universe.box).power

        found = jax.lax.map(spectrum, jnp.stack([jnp.ones_like(density), *chosen]))
        noise = [spectra.shot_noise(weights, universe.box) for weights in chosen]  # matter began on a lattice
        return found - jnp.stack([jnp.zeros_like(noise[0]), *noise])[:, None]

    def displaced(key, steps, first, side):
        if not steps:
            delta = particle_mesh.linear_modes(universe, key, problem.particles)
            return lagrangian.particles(universe.cosmology, delta, universe.box, 1.0)[0]
        params = particle_mesh.Params(
            particle_mesh.schedule(first, 1, steps), num_steps=steps, particles=problem.particles, mesh=side
        )
        return particle_mesh.run(universe, params, key).displacement

    def pair(key):
        seed, check = prng.stream(key, "pair"), prng.stream(key, "check")
        more = prng.replicate_keys(prng.stream(key, "extra"), config.algo.extra)
        seeds = [jnp.stack([seed, check])] + [jnp.concatenate([seed[None], more])] * len(config.algo.surrogates)
        simulators = [(slow.steps, slow.first, slow.mesh)]
        simulators += [(steps, config.algo.first, problem.particles) for steps in config.algo.surrogates]
        # One after another, and in one piece of code each: memory for one simulation, and little to compile.
        moved = [
            jax.lax.map(lambda k, how=how: displaced(k, *how), ks) for ks, how in zip(seeds, simulators, strict=True)
        ]
        rows = jax.lax.map(lambda pair: summary(*pair), (jnp.concatenate(seeds), jnp.concatenate(moved)))
        found, place = {"slow": rows[0], "check": rows[1]}, 2
        for steps in config.algo.surrogates:
            found[f"fast{steps}"] = rows[place]
            found[f"mean{steps}"] = rows[place + 1 : place + 1 + config.algo.extra].mean(axis=0)
            place += 1 + config.algo.extra
        return {f"{name}/{kind}": row[i] for name, row in found.items() for i, kind in enumerate(KINDS)}

    def advance(_, key, done):
        keys = lanes.run_keys(key, done, config.run.chunk)
        rows = jax.lax.map(pair, keys)
        return done + config.run.chunk, jax.tree.map(lambda x: x.mean(axis=0), rows)

    middles = (np.asarray(edges)[:-1] + np.diff(edges) / 2) * 2 * np.pi / problem.box
    return lanes.program(
        config, mesh, draw=lambda key: key, start=lambda _: jnp.int32(0), advance=advance,
        axes={"shell": tuple(f"{k:.3f}" for k in middles)}, in_turn=True,
    )  # fmt: skip


def main(config, run, mesh):
    from experiments.lib import driver
    from experiments.mlmc import panels_carpool

    driver.drive(program(config, mesh), config, run)
    if not run.results:
        run.results(**analysis(config, run.curves))
    run.look(panels_carpool.quick_look)


def analysis(config, curves):
    """Estimates of each group, and the variance reduction out of sample: every group with the beta of the others."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    from research.core import stats
    from research.mlmc import carpool, spectra

    edges = spectra.shells(config.problem.particles, config.problem.width)
    found = {"wave_number": np.asarray(spectra.wave_numbers(config.problem.particles, edges, config.problem.box))}
    # Rows [points, R, shell] to groups [R, points, shell].
    groups = {name: np.moveaxis(np.asarray(x, np.float64), 0, 1) for name, x in curves.items() if name != "step"}
    replicates, pairs, shells = groups["slow/matter"].shape
    lane = np.repeat(np.arange(replicates), pairs)
    others = jnp.asarray(lane[None, :] != np.arange(replicates)[:, None])

    def each(y, c, mu):
        return carpool.estimate(y, c, mu, validate=False).mean

    def fit(beta):
        return jax.jit(
            jax.vmap(lambda used, y, c: carpool.coefficients(y, c, beta, used=used), in_axes=(0, None, None))
        )

    each, fits = jax.jit(jax.vmap(each, in_axes=(0, 0, None))), {beta: fit(beta) for beta in config.algo.betas}
    whole = jax.jit(lambda y, c, mu: carpool.estimate(y, c, mu, validate=False))
    for kind in KINDS:
        scale = np.abs(groups[f"slow/{kind}"]).mean(axis=(0, 1))  # spectra near 1, for single precision
        y = groups[f"slow/{kind}"] / scale
        found[f"plain/{kind}"], found[f"check/{kind}"] = y.mean(axis=1), (groups[f"check/{kind}"] / scale).mean(axis=1)
        flat = y.reshape(-1, shells)
        for steps in config.algo.surrogates:
            name = f"{steps}/{kind}"
            c, mean = (groups[f"{source}{name}"] / scale for source in ("fast", "mean"))
            mu, flat_c = mean.mean(axis=(0, 1)), c.reshape(-1, shells)
            found[f"estimate{name}"] = np.asarray(each(y, c, mu))
            pooled = whole(flat, flat_c, mu)
            found[f"explained{name}"] = np.asarray(pooled.explained)
            of_mean = mean.reshape(-1, shells).std(axis=0, ddof=1) / np.sqrt(len(flat))
            found[f"surrogate_error{name}"] = np.abs(np.diag(pooled.beta)) * of_mean
            for beta in config.algo.betas:
                rows = np.asarray(fits[beta](others, flat, flat_c))[lane]
                left = flat - np.einsum("npq,nq->np", rows, flat_c - mu)
                ends = [_reduction(stats, flat[:, k], left[:, k], config.seed) for k in range(shells)]
                for place, end in enumerate(("reduction", "low", "high")):
                    found[f"{end}{name}/{beta}"] = np.array([row[place] for row in ends])
    return found


def _reduction(stats, y, x, seed):
    """Variance of y over that of x with its BCa interval; pairs are resampled."""
    import numpy as np

    def ratio(index, axis):
        rows = index.astype(int)
        return y[rows].var(axis=axis, ddof=1) / x[rows].var(axis=axis, ddof=1)

    found = stats.bootstrap_interval(np.arange(len(y)), ratio, seed=seed, resamples=999)
    return found.mean, found.low, found.high


if __name__ == "__main__":
    app.run(main, default_config="configs/mlmc/carpool.py")
