"""Whether pooling finds a relation of two tokens among distractors: mean, maximum, attention, and a token graph.

A sequence holds a target and a modifier, marked by directions of their own, and distractors; the question is whether
target and modifier have the same topic (label 0) or not (label 1). A topic is a random unit vector, one of
`problem.topics`; a token is its topic, its mark if it has one, and noise. Of `problem.length` tokens a share
`problem.ratios` are distractors with random topics, two are target and modifier, at random places, the rest is padding.
Every pooling has the same two-layer head and is trained by Adam. A replicate is a seed, a step of the run an epoch.
Metrics `[R, ratio]`: `<pooling>`, accuracy on test sequences after the epoch, and `loss/<pooling>`, mean over the
epoch, in nats.
Source: `mantri:26`; the task in vectors, derived.
"""

from experiments.lib import app

POOLINGS = ("mean", "max", "attention", "graph")


def sequences(key, count: int, ratio: float, setting):
    """What sequences hold: topics `[S, T]`, marks `[S, T]` (0 none, 1 target, 2 modifier), labels `[S]`, integers."""
    import jax
    import jax.numpy as jnp

    from research.core import prng

    length, distractors = setting.length, num_distractors(ratio, setting.length)
    topics = jax.random.randint(prng.stream(key, "topics"), (count, length), 0, setting.topics)
    label = jax.random.bernoulli(prng.stream(key, "labels"), shape=(count,)).astype(jnp.int32)
    # The modifier's topic is the target's, or any other.
    other = (topics[:, 0] + jax.random.randint(prng.stream(key, "other"), (count,), 1, setting.topics)) % setting.topics
    topics = topics.at[:, 1].set(jnp.where(label == 1, other, topics[:, 0]))
    marks = jnp.zeros((count, length), jnp.int32).at[:, 0].set(1).at[:, 1].set(2)
    inside = jnp.arange(length) < distractors + 2
    order = jax.random.uniform(prng.stream(key, "places"), (count, length))
    place = jnp.argsort(jnp.where(inside[None], order, 2.0), axis=1)  # padding stays behind
    return jnp.take_along_axis(topics, place, 1), jnp.take_along_axis(marks, place, 1), label


def num_distractors(ratio: float, length: int) -> int:
    """Tokens of a sequence that are distractors."""
    return min(round(ratio * length), length - 2)


def tokens(key, topics, marks, rows, setting):
    """Tokens `[B, T, D]` of the sequences `rows [B]`, channels at unit scale; a sequence's noise is always the same."""
    import jax
    import jax.numpy as jnp

    from research.core import prng

    dim = setting.channels
    words = jax.random.normal(prng.stream(key, "tables"), (setting.topics, dim))
    signs = jax.random.normal(prng.stream(key, "marks"), (3, dim)).at[0].set(0)  # an ordinary token has no mark
    words, signs = (one / jnp.maximum(jnp.linalg.norm(one, axis=1, keepdims=True), 1e-6) for one in (words, signs))
    keys = jax.vmap(lambda row: jax.random.fold_in(prng.stream(key, "noise"), row))(rows)
    noise = jax.vmap(lambda one: jax.random.normal(one, (setting.length, dim)))(keys)
    return (words[topics[rows]] + setting.mark * signs[marks[rows]]) * dim**0.5 + setting.noise * noise


def program(config, mesh):
    import jax
    import jax.numpy as jnp
    import optax

    from experiments.lib import lanes
    from experiments.pooling import token_heads
    from research.core import prng

    setting, algo = config.problem, config.algo
    ratios, per_epoch = tuple(setting.ratios), setting.train // algo.batch
    num_steps = per_epoch * config.run.num_steps
    optimizer = optax.adam(optax.cosine_decay_schedule(algo.learning_rate, num_steps))
    axis = jnp.array([num_distractors(ratio, setting.length) + 2 for ratio in ratios])

    heads = token_heads.Setting(algo.head, algo.hidden, algo.layers, algo.threshold)

    def logit(params, pooling, x, mask):
        return token_heads.logits(params[pooling], pooling, x, mask)[:, 0]

    def epoch(key, data, params, memory, number, valid):
        """One pass over the training sequences in random order, then the test.

        All poolings are trained at once on the sum of their losses: they share no parameter, and Adam works entry by
        entry, so that each is trained as if alone.
        """
        topics, marks, label = data
        mask = jnp.broadcast_to(jnp.arange(setting.length)[None] < valid, (algo.batch, setting.length))

        def loss(params, rows):
            x, sign = tokens(key, topics, marks, rows, setting), 2.0 * label[rows] - 1
            losses = jnp.stack([jnp.mean(jax.nn.softplus(-sign * logit(params, name, x, mask))) for name in POOLINGS])
            return losses.sum(), losses

        def step(carry, rows):
            (_, losses), gradient = jax.value_and_grad(loss, has_aux=True)(carry[0], rows)
            update, memory = optimizer.update(gradient, carry[1])
            return (optax.apply_updates(carry[0], update), memory), losses

        order = jax.random.permutation(jax.random.fold_in(prng.stream(key, "order"), number), setting.train)
        order = order[: per_epoch * algo.batch].reshape(per_epoch, algo.batch)
        (params, memory), losses = jax.lax.scan(step, (params, memory), order)

        def right(rows):
            x = tokens(key, topics, marks, rows, setting)
            return jnp.stack([(logit(params, name, x, mask) > 0) == (label[rows] == 1) for name in POOLINGS])

        test = setting.train + jnp.arange(setting.test).reshape(-1, algo.batch)
        return params, memory, jnp.mean(jax.lax.map(right, test), axis=(0, 2)), jnp.mean(losses, axis=0)

    def draw(key):
        total = setting.train + setting.test
        drawn = [sequences(prng.stream(key, f"{ratio}"), total, ratio, setting) for ratio in ratios]
        return key, jax.tree.map(lambda *parts: jnp.stack(parts), *drawn)

    def start(drawn):
        keys = jax.random.split(prng.stream(drawn[0], "create"), len(ratios))
        params = jax.vmap(lambda key: token_heads.create(key, POOLINGS, setting.channels, 1, heads))(keys)
        return params, jax.vmap(optimizer.init)(params), jnp.int32(0)

    def advance(_, drawn, state):
        key, data = drawn
        params, memory, number = state
        params, memory, accuracy, loss = jax.lax.map(
            lambda given: epoch(key, *given[:3], number, given[3]), (data, params, memory, axis)
        )
        found = {pooling: accuracy[:, place] for place, pooling in enumerate(POOLINGS)}
        found |= {f"loss/{pooling}": loss[:, place] for place, pooling in enumerate(POOLINGS)}
        return (params, memory, number + 1), found

    return lanes.program(
        config, mesh, draw=draw, start=start, advance=advance, in_turn=True,
        axes={"ratio": tuple(f"{ratio:g}" for ratio in ratios)},
    )  # fmt: skip


def main(config, run, mesh):
    from experiments.lib import driver
    from experiments.pooling import panels_distractors

    driver.drive(program(config, mesh), config, run)
    run.look(panels_distractors.quick_look)


if __name__ == "__main__":
    app.run(main, default_config="configs/pooling/distractors.py")
