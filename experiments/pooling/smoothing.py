"""What is left of a graph's features after L steps of smoothing, in its last layer and in its history.

Graphs of two planted blocks, `problem.inside` and `problem.across` the probabilities of an edge; every node has two
standard normal features with correlation +-`problem.correlation`, and the sign is the label. A layer is a step of the
random walk with loops, x <- D^-1 (A + I) x: features within a block become the same, and what they had to say is gone.
Metrics, accuracy on test graphs, `[R, depth]` over L: `last`, ridge regression on means over nodes of fixed random ReLU
features of layer L; `history`, the same of (layer 0 - layer 1, layer L), a filter that signed layer weights realise;
`spread`, root mean square distance of nodes in layer L from their mean, over that in layer 0. And `[R, trained]`, over
`problem.trained` depths: `operator`, HISTOGRAPH trained on `problem.layers` layers from 0 to L, evenly spaced;
`operator_last`, on as many copies of layer L, at unit scale; `weight` of layer 0 after training and `vanished`, the
share of test graphs at which the layers' weights fell back to a softmax. A replicate is a seed, a step all of it.
Theorem: `research.pooling.graph_bounds.layer_filter`. Source: `galron:26`; the task is our own.
"""

from experiments.lib import app


def graphs(key, count: int, setting):
    """Random walks `[G, N, N]`, features `[G, N, 2]` and labels `[G]` in {-1, 1}."""
    import jax
    import jax.numpy as jnp

    from research.core import prng

    size = setting.nodes
    block = jnp.arange(size) < size // 2
    chance = jnp.where(block[:, None] == block[None], setting.inside, setting.across)
    drawn = jax.random.uniform(prng.stream(key, "edges"), (count, size, size)) < chance[None]
    upper = jnp.triu(drawn, 1)
    adjacency = (upper | jnp.swapaxes(upper, 1, 2) | jnp.eye(size, dtype=bool)[None]).astype(jnp.float32)
    walk = adjacency / adjacency.sum(axis=2, keepdims=True)
    label = jax.random.rademacher(prng.stream(key, "labels"), (count,), jnp.float32)
    normal = jax.random.normal(prng.stream(key, "features"), (2, count, size))
    correlated = setting.correlation * label[:, None] * normal[0] + (1 - setting.correlation**2) ** 0.5 * normal[1]
    return walk, jnp.stack([normal[0], correlated], axis=-1), label


def program(config, mesh):
    import jax
    import jax.numpy as jnp
    import optax

    from experiments.lib import lanes
    from research.core import prng, validate
    from research.pooling import histograph

    setting, algo = config.problem, config.algo
    depths, trained = tuple(setting.depths), tuple(setting.trained)
    train, total = setting.train, setting.train + setting.test
    for depth in trained:
        validate.require(
            depth % (setting.layers - 1) == 0, "config.problem.trained", f"be multiples of {setting.layers - 1}", depth
        )

    def ridge(features, label):
        """Accuracy on the test graphs of least squares on the others, features at unit scale, with a constant."""
        scale = jnp.std(features[:train], axis=0) + 1e-12
        features = (features - jnp.mean(features[:train], axis=0)[None]) / scale[None]
        features = jnp.concatenate([features, jnp.ones_like(features[:, :1])], axis=1)
        known = features[:train]
        weights = jnp.linalg.solve(known.T @ known + algo.ridge * jnp.eye(known.shape[1]), known.T @ label[:train])
        return jnp.mean(jnp.sign(features[train:] @ weights) == label[train:])

    def random_features(key, x):
        """Means over nodes of relu(x W + b), x at unit scale."""
        x = x / jnp.std(x, axis=(0, 1))[None, None]
        weight = jax.random.normal(prng.stream(key, f"weight-{x.shape[2]}"), (x.shape[2], algo.features))
        bias = jax.random.normal(prng.stream(key, "bias"), (algo.features,))
        return jnp.mean(jax.nn.relu(x @ weight + bias[None, None]), axis=1)

    optimizer = optax.adam(optax.cosine_decay_schedule(algo.learning_rate, algo.steps))

    def trained_accuracy(key, history, label):
        """Test accuracy of the operator with a linear head, its mean weight of layer 0, and how often it fell back."""
        mask = jnp.ones(history.shape[:2], bool)
        create, order = prng.stream(key, "create"), prng.stream(key, "order")
        model = histograph.Histograph.create(create, history.shape[-1], algo.channels, algo.heads)
        params = (model, jnp.zeros(algo.channels), jnp.zeros(()))

        def answer(params, history, mask):
            model, head, constant = params
            pooled, layered = histograph.histograph(history, mask, model)
            return pooled @ head + constant, layered

        def loss(params, rows):
            logits, _ = answer(params, history[rows], mask[rows])
            return jnp.mean(jax.nn.softplus(-label[rows] * logits))

        def step(carry, rows):
            params, memory = carry
            update, memory = optimizer.update(jax.grad(loss)(params, rows), memory)
            return (optax.apply_updates(params, update), memory), None

        rows = jax.random.randint(order, (algo.steps, algo.batch), 0, train)
        (params, _), _ = jax.lax.scan(step, (params, optimizer.init(params)), rows)
        logits, layered = answer(params, history[train:], mask[train:])
        accuracy = jnp.mean(jnp.sign(logits) == label[train:])
        return accuracy, jnp.mean(layered.weights[:, 0]), jnp.mean(layered.vanished)

    def advance(_, key, state):
        walk, x, label = graphs(prng.stream(key, "graphs"), total, setting)

        def smooth(x, _):
            return jnp.einsum("gij,gjd->gid", walk, x), x

        _, layers = jax.lax.scan(smooth, x, length=max(depths) + 1)  # [L, G, N, 2]
        chosen = layers[jnp.array(depths)]
        difference = layers[0] - layers[1]
        features = prng.stream(key, "features")

        def readouts(layer):
            history = jnp.concatenate([difference, layer], axis=-1)
            return ridge(random_features(features, layer), label), ridge(random_features(features, history), label)

        last, history = jax.lax.map(readouts, chosen)
        deviation = jnp.sqrt(jnp.mean((layers - layers.mean(axis=2, keepdims=True)) ** 2, axis=(1, 2, 3)))
        found = {"last": last, "history": history, "spread": deviation[jnp.array(depths)] / deviation[0]}
        # What the operator is given: `problem.layers` layers from 0 to L, evenly spaced; or layer L so many times.
        stride = jnp.arange(setting.layers)[None] * (jnp.array(trained)[:, None] // (setting.layers - 1))
        ends = layers[jnp.array(trained)]
        ends = ends / jnp.std(ends, axis=(1, 2, 3), keepdims=True)
        ends = jnp.broadcast_to(ends[:, None], (len(trained), setting.layers, *ends.shape[1:]))
        given = jnp.moveaxis(jnp.concatenate([layers[stride], ends]), 1, 3)
        accuracy, weight, vanished = jax.lax.map(
            lambda history: trained_accuracy(prng.stream(key, "fit"), history, label), given
        )
        count = len(trained)
        found |= {"operator": accuracy[:count], "operator_last": accuracy[count:]}
        return state + 1, found | {"weight": weight[:count], "vanished": vanished[:count]}

    return lanes.program(
        config, mesh, draw=lambda key: key, start=lambda _: jnp.int32(0), advance=advance, in_turn=True,
        axes={"depth": tuple(map(str, depths)), "trained": tuple(map(str, trained))},
    )  # fmt: skip


def main(config, run, mesh):
    from experiments.lib import driver
    from experiments.pooling import panels_smoothing

    driver.drive(program(config, mesh), config, run)
    run.look(panels_smoothing.quick_look)


if __name__ == "__main__":
    app.run(main, default_config="configs/pooling/smoothing.py")
