"""What a subset does not know of the set it is drawn from: the share of S above the mean of V.

V is N(m, 1) numbers with m from N(0, spread^2); an element is in S with probability `share`, and at least one is.
Models are DeepSets of S, and a pool of S beside one of V. Metrics `[R, model]` on fresh sets at the end of a chunk:
`error`, the mean squared error. Results, `[R]`: `variance`, of the target on the same sets; `floor`, the least error of
any function of S on average over them; `best`, the error of the function that attains it.
Theorem: T12, `research.pooling.set_bounds.share_given_subset`. Source: `xie:24`, whose experiments it stands for.
"""

from experiments.lib import app

MODELS = ("S alone", "S and V")


def program(config, mesh):
    import jax
    import jax.numpy as jnp
    import optax

    from experiments.lib import lanes
    from experiments.lib.program import number
    from experiments.pooling import set_fits
    from research.core import prng
    from research.pooling import set_bounds, superset

    problem, algo, dtype = config.problem, config.algo, number(config)
    optimizer = optax.adam(optax.cosine_decay_schedule(algo.learning_rate, config.run.num_steps))

    def sets(key, count):
        keys = jax.random.split(key, 4)
        centre = problem.spread * jax.random.normal(keys[0], (count, 1), dtype)
        x = centre + jax.random.normal(keys[1], (count, problem.size), dtype)
        first = jax.random.randint(keys[2], (count, 1), 0, problem.size)
        subset = jax.random.uniform(keys[3], (count, problem.size)) < problem.share
        subset = subset | (jnp.arange(problem.size)[None] == first)
        above = subset & (x > x.mean(axis=1, keepdims=True))
        return x, subset, above.sum(axis=1) / subset.sum(axis=1)

    def create(key):
        alone, both = jax.random.split(prng.stream(key, "models"))
        models = (
            superset.DeepSets.create(alone, 1, algo.hidden, kind="mean"),
            superset.SupersetPool.create(both, 1, algo.hidden, kind="mean"),
        )
        return jax.tree.map(lambda leaf: leaf.astype(dtype), models)

    def errors(models, batch):
        x, subset, target = batch
        alone, both = models[0](x[..., None], subset), models[1](x[..., None], subset)
        return jnp.stack([jnp.mean((answer[:, 0] - target) ** 2) for answer in (alone, both)])

    def draw(key):
        test = sets(prng.stream(key, "test"), problem.test)
        law = set_bounds.share_given_subset(test[0], test[1], problem.spread)
        best = jnp.mean((law.mean - test[2]) ** 2)
        return key, test, (test[2].var(), law.variance.mean(), best)

    def advance(_, drawn, fit):
        key, test, _ = drawn
        fit, _ = set_fits.advance(
            prng.stream(key, "batches"), fit, optimizer, lambda key: sets(key, algo.batch),
            lambda models, batch: errors(models, batch).sum(), config.run.chunk,
        )  # fmt: skip
        return fit, {"error": errors(fit.model, test)}

    return lanes.program(
        config, mesh, draw=draw, start=lambda drawn: set_fits.start(create(drawn[0]), optimizer), advance=advance,
        axes={"model": MODELS},
    )  # fmt: skip


def main(config, run, mesh):
    from experiments.lib import driver
    from experiments.pooling import panels_superset

    (_, (_, _, (variance, floor, best))), _ = driver.drive(program(config, mesh), config, run)
    if not run.results:
        run.results(variance=variance, floor=floor, best=best)
    run.look(panels_superset.quick_look)


if __name__ == "__main__":
    app.run(main, default_config="configs/pooling/superset.py")
