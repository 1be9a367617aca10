"""Aggregations that must answer for larger sets than they have seen: parity of bits, second smallest of eight levels.

A step is an optimiser step of every network on both tasks, a replicate a seed. Metrics, `[R, method]`: `loss/<task>`,
mean cross-entropy over the chunk, nats. Results, by `task`, `method` and replicate, on fresh sets: `accuracy` and
`flips [T, M, size, R]` at the sizes of `run.sizes`, shares of right answers and of answers that another order of
the elements changes; `far [T, M, R]`, accuracy at `run.far` elements, NaN of methods that are not in `run.far_methods`;
`associator [T, R]`, root mean square over triples of embedded elements, of the LCM; `reached` and `defects [T, table,
R]` of the tables of "tables and tropical": states that sets of the task can reach, and triples of them that are not
associated. Tables are rounded in all of them.
Source: `ong:22`, for the LCM; `cohen-karlik:20` for parity. Sizes and the monoids by construction are ours.
"""

from experiments.lib import app


def program(config, mesh):
    import jax
    import jax.numpy as jnp
    import optax

    from experiments.lib import lanes
    from experiments.pooling import set_models
    from research.core import prng
    from research.pooling import monoid

    methods, problem, algo = tuple(config.algo.methods), config.problem, config.algo
    tasks = jnp.arange(len(set_models.TASKS))
    schedule = optax.cosine_decay_schedule(algo.learning_rate, config.run.num_steps)
    optimizer = optax.chain(optax.clip_by_global_norm(algo.clip), optax.adam(schedule))

    def start(key):
        def one(method, task):
            params = set_models.create(prng.per_step(prng.stream(key, method), task), method, algo.sizes)
            return params, optimizer.init(params)

        return jnp.int32(0), {name: jax.vmap(lambda task, name=name: one(name, task))(tasks) for name in methods}

    def loss(params, method, batch):
        levels, mask, answers = batch
        found = set_models.logits(method, params, levels, mask)
        total = optax.softmax_cross_entropy_with_integer_labels(found, answers).mean()
        if method == "LCM" and algo.penalty:
            embedded = set_models.embed(params, levels)
            total += algo.penalty * monoid.associator_penalty(set_models.operator(params), embedded, mask)
        return total

    def train(key, state, _):
        step, networks = state

        def batch(task):
            drawn = prng.per_step(prng.stream(key, "batches"), step)
            return set_models.draw(
                drawn, task, algo.batch, problem.largest, problem.smallest, problem.largest, algo.sizes.levels
            )

        batches, moved, losses = jax.vmap(batch)(tasks), {}, []
        for method in methods:

            def one(params, moments, batch, method=method):
                value, gradient = jax.value_and_grad(loss)(params, method, batch)
                update, moments = optimizer.update(gradient, moments)
                return optax.apply_updates(params, update), moments, value

            *learned, value = jax.vmap(one)(*networks[method], batches)
            moved[method] = tuple(learned)
            losses.append(value)
        return (step + 1, moved), jnp.stack(losses)

    def advance(_, key, state):
        state, losses = jax.lax.scan(lambda s, x: train(key, s, x), state, length=config.run.chunk)
        mean = losses.mean(axis=0)
        return state, {f"loss/{name}": mean[:, at] for at, name in enumerate(set_models.TASKS)}

    return lanes.program(
        config, mesh, draw=lambda key: key, start=start, advance=advance, axes={"method": methods}, in_turn=True
    )


def examined(config, keys, networks):
    """Results of the module's docstring; of networks with leading axes `[R, T]`."""
    import functools

    import jax
    import jax.numpy as jnp
    import numpy as np

    from experiments.pooling import set_models
    from research.core import prng
    from research.pooling import monoid

    asked, levels, tasks = config.run, config.algo.sizes.levels, len(set_models.TASKS)
    sizes, replicates = jnp.array(asked.sizes), config.run.replicates

    def asked_at(method, lane, name, size, capacity, sets):
        """Share of right answers, and of answers that another order changes."""
        params, task, key = lane
        drawn = prng.per_step(prng.stream(key, name), size)
        given, mask, answers = set_models.draw(drawn, task, sets, capacity, size, size, levels)

        def decide(given, mask):
            return jnp.argmax(set_models.logits(method, params, given, mask, rounded=True), axis=-1)

        found = monoid.decisions(decide, given, mask, prng.stream(drawn, "orders"), draws=1)
        return jnp.mean(found[0] == answers), jnp.mean(found[1] != found[0])

    @functools.partial(jax.jit, static_argnums=0)
    def near(method, lanes):
        def one(lane):
            return jax.lax.map(lambda n: asked_at(method, lane, "sizes", n, max(asked.sizes), asked.sets), sizes)

        return jax.lax.map(one, lanes)

    @functools.partial(jax.jit, static_argnums=0)
    def far(method, lanes):
        return jax.lax.map(lambda lane: asked_at(method, lane, "far", asked.far, asked.far, asked.far_sets)[0], lanes)

    @jax.jit
    def apart(lanes):
        def one(lane):
            every = jnp.tanh(lane[0]["embedding"])
            a, b, c = every[:, None, None], every[None, :, None], every[None, None]
            return jnp.sqrt(jnp.mean(jnp.square(monoid.associator(set_models.operator(lane[0]), a, b, c))))

        return jax.lax.map(one, lanes)

    def by_task(found):
        """`[R * T, ...]` -> `[T, ..., R]`."""
        return np.moveaxis(np.asarray(found).reshape(replicates, tasks, *found.shape[1:]), 0, -1)

    rows, flips, beyond, extra = [], [], [], {}
    for method in tuple(config.algo.methods):
        learned = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), networks[method][0])
        lanes = learned, jnp.tile(jnp.arange(tasks), replicates), jnp.repeat(keys, tasks)
        found, flipped = near(method, lanes)
        rows.append(by_task(found))
        flips.append(by_task(flipped))
        absent = np.full((tasks, replicates), np.nan)
        beyond.append(by_task(far(method, lanes)) if method in asked.far_methods else absent)
        if method == "LCM":
            extra["associator"] = by_task(apart(lanes))
        if method == "tables and tropical":
            extra |= {name: by_task(found) for name, found in proofs(learned["tables"], levels).items()}
    return {"accuracy": np.stack(rows, 1), "flips": np.stack(flips, 1), "far": np.stack(beyond, 1)} | extra


def proofs(tables, levels):
    """Of networks `[lane]`: `defects` and `reached [lane, table]` of the module's docstring."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    from experiments.pooling import set_models
    from research.pooling import constructed_monoids as constructed

    @jax.jit
    @jax.vmap
    def rounded(one):
        return constructed.hard_table(one.tables()), jnp.argmax(one.enter(jnp.eye(levels)), axis=-1)

    found = []
    for lane, (products, entered) in enumerate(zip(*jax.device_get(rounded(tables)), strict=True)):
        known = entered[: set_models.LEVELS[lane % len(set_models.TASKS)] or levels]
        states = [constructed.generated_states(table, known[:, at]) for at, table in enumerate(products)]
        defects = [constructed.table_defects(*pair).associativity for pair in zip(products, states, strict=True)]
        found.append((defects, [len(one) for one in states]))
    defects, reached = np.moveaxis(np.array(found), 1, 0)
    return {"defects": defects, "reached": reached}


def main(config, run, mesh):
    import jax

    from experiments.lib import driver
    from experiments.pooling import panels_parity
    from research.core import prng

    (_, keys), (_, networks) = driver.drive(program(config, mesh), config, run)
    if not run.results:
        run.results(**examined(config, jax.vmap(lambda key: prng.stream(key, "examination"))(keys), networks))
    run.look(panels_parity.quick_look)


if __name__ == "__main__":
    app.run(main, default_config="configs/pooling/parity.py")
