"""Assortments in one pass along the price order: value over the optimum, by choice model, constraint and rule.

A step is a number of items; a replicate draws a multinomial logit, a mixture of three segments and a Markov chain over
the same prices. Constraints: a third of the items, a budget of a third of the total cost, three parts of which each
gives a third. Metrics, `[R]`: `<model>/<constraint>/search`, the value with every threshold tried (by rule "swap" for
parts), `.../greedy`, one pass of whatever fits and gains; `submodular/<model>`, by how much the order failed to be a
strong submodular one over sampled sets, and `submodular/reversed`, that of the logit from cheap to dear.
Results: `<model>/<constraint>/optimum [sizes, R]` by brute force.
Source: `udwani:24` for the class of functions; the rules' constants are proved in `research.matching.assortment`.
"""

from experiments.lib import app

MODELS = ("logit", "mixture", "chain")
CONSTRAINTS = ("cardinality", "budget", "partition")


def models(key, most, size, dtype):
    """The three models over `most` items, of which the first `size` exist: the others are worth nothing to anybody."""
    import jax
    import jax.numpy as jnp

    from research.core import prng
    from research.matching import choice_models

    present = (jnp.arange(most) < size).astype(dtype)

    def uniform(name, shape, low, high):
        return jax.random.uniform(prng.stream(key, name), shape, dtype, low, high)

    prices = present * uniform("prices", (most,), 0.5, 2.0)
    weights = present[None] * uniform("weights", (3, most), 0.05, 1.0)
    arrival = present * uniform("arrival", (most,), 0.0, 1.0)
    transition = present[:, None] * present[None] * (1 - jnp.eye(most, dtype=dtype))
    transition = transition * uniform("transition", (most, most), 0.0, 1.0)
    leaving = uniform("leaving", (most, 1), 0.1, 0.5)
    total = jnp.maximum(jnp.sum(transition, axis=1, keepdims=True), jnp.finfo(dtype).tiny)
    shares = jnp.asarray([0.5, 0.3, 0.2], dtype)
    return {
        "logit": choice_models.MultinomialLogit(prices, weights[0], jnp.ones((), dtype)),
        "mixture": choice_models.Mixture(prices, weights, jnp.ones(3, dtype), shares),
        "chain": choice_models.MarkovChain(prices, arrival / jnp.sum(arrival), transition / total * (1 - leaving)),
    }


def constrained(key, model, size, constraint):
    """The problem of one constraint, items from dear to cheap; of one shape for all constraints."""
    import dataclasses

    import jax
    import jax.numpy as jnp

    from research.core import prng
    from research.matching import assortment, choice_models

    most, order = model.num_items, choice_models.by_price(model.prices)
    third = jnp.maximum(1, size // 3)
    if constraint == "partition":
        capacity = jnp.broadcast_to(jnp.maximum(1, third // 3), (3,))
        return assortment.with_parts(model, order, jnp.arange(most) % 3, capacity)
    if constraint == "cardinality":
        problem = assortment.with_cardinality(model, order, third)
    else:
        cost = jax.random.uniform(prng.stream(key, "cost"), (most,), model.prices.dtype, 0.2, 1.0)
        problem = assortment.with_budget(model, order, cost, jnp.sum(jnp.where(jnp.arange(most) < size, cost, 0)) / 3)
    return dataclasses.replace(problem, capacity=jnp.pad(problem.capacity, (0, 2), constant_values=1))  # empty parts


def program(config, mesh):
    import jax
    import jax.numpy as jnp

    from experiments.lib import lanes
    from experiments.lib.program import number
    from research.core import prng
    from research.matching import assortment, choice_models, submodular_orders

    sizes, samples = jnp.asarray(config.problem.sizes, jnp.int32), config.run.samples
    most, dtype = max(config.problem.sizes), number(config)

    def advance(_, key, step):
        size, metrics = sizes[step], {}
        drawn = models(prng.per_step(key, step), most, size, dtype)
        for name, model in drawn.items():
            order = choice_models.by_price(model.prices)

            def failure(order, model=model):
                failed = submodular_orders.order_violations(prng.stream(key, "sets"), model, order, samples)
                return jnp.maximum(failed.submodular, jnp.maximum(failed.monotone, failed.subadditive))

            orders = {name: order} | ({"reversed": order[::-1]} if name == "logit" else {})
            failures = jax.lax.map(failure, jnp.stack(list(orders.values())))
            metrics |= {f"submodular/{which}": failed for which, failed in zip(orders, failures, strict=True)}
        for name in MODELS:
            made = {c: constrained(prng.per_step(key, step), drawn[name], size, c) for c in CONSTRAINTS}
            stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *made.values())
            params = assortment.Params(most, "greedy")
            passes = jax.lax.map(lambda one, params=params: assortment.run(one, params, validate=False).value, stacked)
            for (constraint, problem), greedy in zip(made.items(), passes, strict=True):
                found = assortment.search(problem, constraint, epsilon=config.algo.epsilon)
                metrics |= {f"{name}/{constraint}/search": found.value, f"{name}/{constraint}/greedy": greedy}
        return step + 1, metrics

    axes = {"size": tuple(map(str, config.problem.sizes)), "model": MODELS, "constraint": CONSTRAINTS}
    return lanes.program(
        config, mesh, draw=lambda key: key, start=lambda _: jnp.int32(0), advance=advance, axes=axes
    )  # fmt: skip


def main(config, run, mesh):
    from experiments.lib import driver
    from experiments.matching import panels_assortment

    (_, keys), _ = driver.drive(program(config, mesh), config, run)
    if not run.results:
        run.results(**optima(config, keys))
    run.look(panels_assortment.quick_look)


def optima(config, keys):
    """The optimum of every problem, by looking at all sets."""
    import itertools

    import numpy as np

    from experiments.lib.program import number
    from research.core import prng
    from research.matching import assortment_oracles

    found = {f"{m}/{c}/optimum": np.zeros((len(config.problem.sizes), len(keys))) for m in MODELS for c in CONSTRAINTS}
    for step, size in enumerate(config.problem.sizes):
        for r, replicate in enumerate(keys):
            key = prng.per_step(replicate, step)
            drawn = models(key, max(config.problem.sizes), size, number(config))
            for name, constraint in itertools.product(MODELS, CONSTRAINTS):
                best = assortment_oracles.brute_force(constrained(key, drawn[name], size, constraint))
                found[f"{name}/{constraint}/optimum"][step, r] = best.value
    return found


if __name__ == "__main__":
    app.run(main, default_config="configs/matching/assortment.py")
