"""Multilevel Monte Carlo with fixed levels: whether it keeps its tolerance, what it costs, and the rates it lives on.

A step is a tolerance, the coarsest first; a replicate is an adaptive run on every walk of `problem.adaptive`, and some
samples of every level of those of `problem.fixed`. Metrics, `[R]`, of adaptive runs: `error/<walk>`, the value less the
exact one; `leaves/<walk>`; `remainder/<walk>`, the bias as it is extrapolated; `finest/<walk>`. A run that does not
converge counts as failed. Of all walks, `[R, level]`: `count/<walk>`, samples; for Delta_l `mean`, `second`, `third`
and `fourth`, the mean and sums of powers of deviations from it; for P_l `value_mean` and `value_second`.
Results: `wnv [walk]`, of the adaptive ones: the least work-normalised variance of random levels with one term.
The tables of levels are in `figures/levels.txt`.
Source: `giles:15`, sections 3 and 9.
"""

from experiments.lib import app

#: Sums of every level that are logged: metric -> field of the moments, and whether they are Delta's or P's.
LOGGED = {
    "mean": ("mean", 0), "second": ("second", 0), "third": ("third", 0), "fourth": ("fourth", 0),
    "value_mean": ("mean", 1), "value_second": ("second", 1),
}  # fmt: skip


def program(config, mesh):
    import jax
    import jax.numpy as jnp

    from experiments.lib import lanes
    from experiments.lib.program import number
    from research.core import prng
    from research.core.status import Status
    from research.mlmc import level_samples, multilevel, walks

    setting, top, dtype = config.problem, config.algo.max_level, number(config)
    problems = {name: walks.walk(name, dtype) for name in (*setting.adaptive, *setting.fixed)}
    tolerances = jnp.asarray(setting.tolerances, dtype)
    asked = jnp.where(jnp.arange(top + 1) <= setting.finest_fixed, setting.samples, 0)

    def adaptive(problem, tolerance, key):
        result = multilevel.run(problem, multilevel.Params(tolerance, **config.algo), key)
        met = result.status == Status.CONVERGED
        return result.state.samples, {
            "error": jnp.where(met, result.value - problem.exact, jnp.nan), "leaves": result.leaves,
            "remainder": result.remainder, "finest": result.state.finest,
        }  # fmt: skip

    def advance(_, key, step):
        metrics = {}
        for name, problem in problems.items():
            own = prng.per_step(prng.stream(key, name), step)
            if name in setting.adaptive:
                samples, found = adaptive(problem, tolerances[step], own)
            else:
                nothing = level_samples.start(problem, top)
                samples = level_samples.add(problem, jax.random.key_data(own), nothing, asked, config.algo.base)
                found = {}
            found["count"] = samples.count[:, 0]
            found |= {metric: getattr(samples, field)[:, of] for metric, (field, of) in LOGGED.items()}
            metrics |= {f"{metric}/{name}": value for metric, value in found.items()}
        return step + 1, metrics

    axes = {
        "walk": tuple(problems), "tolerance": tuple(f"{eps:g}" for eps in setting.tolerances),
        "level": tuple(map(str, range(top + 1))),
    }  # fmt: skip
    return lanes.program(
        config, mesh, draw=lambda key: key, start=lambda _: jnp.int32(0), advance=advance, axes=axes, in_turn=True
    )


def main(config, run, mesh):
    from experiments.lib import driver, files
    from experiments.mlmc import level_text, panels_multilevel
    from research.mlmc import second_moments, walks

    driver.drive(program(config, mesh), config, run)
    if not run.results:
        run.results(wnv=[second_moments.best_rate(walks.walk(name))[1] for name in config.problem.adaptive])
    files.replace(run.figure("levels.txt"), level_text.text(run))
    run.look(panels_multilevel.quick_look)


if __name__ == "__main__":
    app.run(main, default_config="configs/mlmc/multilevel.py")
