"""Area under the ROC curve of bags, learned from a few instances of each: what averaging over visits is worth.

A replicate is a training set of bags, a test set as large, a start and a stream of samples; all rows share them. Rows:
both poolings from full bags without averaging, and from `algo.instances` of each with every weight of
`algo.averagings` (1 forgets); the smoothed maximum has a linear scorer, attention a linear value and a logit of one
hidden layer. A step is an update of every row. Metric, `[R, row]`: `auc`, on full bags of the test set.
Algorithms: `research.pooling.stochastic`, `research.pooling.stochastic_attention`.
"""

from experiments.lib import app

POOLINGS = ("smoothed maximum", "attention")


def labels(config) -> tuple[str, ...]:
    """Of the rows, in the order of metrics."""
    ways = ("full bags", *(f"γ = {weight:g}" for weight in config.algo.averagings))
    return tuple(f"{pooling}, {way}" for pooling in POOLINGS for way in ways)


def program(config, mesh):
    import jax
    import jax.numpy as jnp

    from experiments.lib import lanes
    from experiments.lib.program import number
    from research.core import prng
    from research.pooling import multi_instance, stochastic, stochastic_attention

    asked, algo, dtype = config.problem, config.algo, number(config)
    sizes = {"bags": asked.bags, "size": asked.size, "dim": asked.dim, "shift": asked.shift, "most": asked.most}
    weights = jnp.array(algo.averagings, dtype)
    modules = stochastic, stochastic_attention
    knobs = {
        "bags": algo.bags, "temperature": algo.temperature, "dual_step": algo.dual_step, "margin": algo.margin,
        "learning_rate": algo.learning_rate, "momentum": algo.momentum, "num_steps": config.run.chunk,
    }  # fmt: skip

    def params(instances, averaging):
        return multi_instance.Params(instances=instances, averaging=averaging, **knobs)

    def draw(key):
        scorers = (
            stochastic.LinearScorer.create(prng.stream(key, "linear"), asked.dim),
            stochastic_attention.AttentionScorer.create(prng.stream(key, "attention"), asked.dim, algo.hidden),
        )

        def bags(name, scorer):
            return multi_instance.bag_problem(prng.stream(key, name), scorer, **sizes)

        return [(bags("train", scorer), bags("test", scorer)) for scorer in scorers], prng.stream(key, "samples")

    def start(drawn):
        problems, key = drawn
        return [
            (
                module.init(train, params(asked.size, 1.0), key),
                jax.vmap(lambda weight: module.init(train, params(algo.instances, weight), key))(weights),  # noqa: B023
            )
            for module, (train, _) in zip(modules, problems, strict=True)
        ]

    def advance(_, drawn, state):
        problems, _ = drawn
        moved, scorers = [], []
        for module, (train, _), (full, few) in zip(modules, problems, state, strict=True):
            full = module.run(train, params(asked.size, 1.0), state=full).state
            few = jax.vmap(
                lambda weight, state: module.run(train, params(algo.instances, weight), state=state).state  # noqa: B023
            )(weights, few)
            moved.append((full, few))
            every = jax.tree.map(
                lambda one, more: jnp.concatenate([one[None], more]), full.saddle.scorer, few.saddle.scorer
            )
            scorers.append(every)

        areas = []
        for module, (_, test), every in zip(modules, problems, scorers, strict=True):
            extra = (algo.temperature,) if module is stochastic else ()
            score = jax.vmap(lambda one: module.bag_scores(test, one, *extra))(every)  # noqa: B023
            areas.append(jax.vmap(multi_instance.area_under_curve, in_axes=(0, None))(score, test.positive))
        return moved, {"auc": jnp.concatenate(areas)}

    return lanes.program(config, mesh, draw=draw, start=start, advance=advance, axes={"row": labels(config)})


def main(config, run, mesh):
    from experiments.lib import driver
    from experiments.pooling import panels_bags

    driver.drive(program(config, mesh), config, run)
    run.look(panels_bags.quick_look)


if __name__ == "__main__":
    app.run(main, default_config="configs/pooling/bags.py")
