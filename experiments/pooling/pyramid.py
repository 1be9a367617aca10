"""Digits of any size: a network with a spatial pyramid, or with a global mean, trained on one or two sizes.

A replicate is a seed: the split, the first weights and the order of the batches, the same for all rows. A row is a head
and its training sizes, "pyramid 12 24" or "mean 12 24"; it trains conv 12 - max 2 x 2 - conv 24 - head - dense, batches
of its sizes in turn. A step is an epoch. Metrics: `loss [R, row]`, the mean training loss, nats, and
`accuracy/<size> [R, row]` on the test pictures of that size, shares.
Source: `he:14`, section 3.1, for training on two sizes; the network and the pictures are ours.
"""

from experiments.lib import app

LEVELS = (4, 2, 1)
WIDTHS = (12, 24)


def read(row):
    """Head and training sizes of a row."""
    head, *sizes = row.split()
    return head, tuple(map(int, sizes))


def program(config, mesh):
    import jax
    import jax.numpy as jnp
    import numpy as np
    import optax

    from experiments.data import digits
    from experiments.lib import lanes
    from experiments.pooling import digit_nets as nets
    from research.core import prng
    from research.pooling.adaptive import pyramid_length, spatial_pyramid
    from research.pooling.windows import window_pool

    rows, run = tuple(config.algo.rows), config.run
    sizes = tuple(config.problem.sizes)
    heads, trained = zip(*map(read, rows), strict=True)
    used = sorted({size for row in trained for size in row})
    features = pyramid_length(LEVELS, 2, WIDTHS[1])
    # Which training size row i takes at step k: entry [i, k % width].
    width = int(np.lcm.reduce([len(row) for row in trained]))
    turns = jnp.array([[used.index(row[k % len(row)]) for k in range(width)] for row in trained])
    pyramid = jnp.array([head == "pyramid" for head in heads])

    def logits(number, weights, x):
        """Both heads have the pyramid's features; those of the mean are followed by zeros."""
        one, two = weights["kernels"]
        x = nets.convolve(window_pool(nets.convolve(x, one), "max", 2), two)
        mean = jnp.pad(x.mean(axis=(1, 2)), ((0, 0), (0, features - WIDTHS[1])))
        matrix, bias = weights["dense"]
        return jnp.where(pyramid[number], spatial_pyramid(x, LEVELS), mean) @ matrix + bias

    def start(key):
        shapes = {"kernels": [(3, 3, 1, WIDTHS[0]), (3, 3, *WIDTHS)], "dense": (features, digits.CLASSES)}
        drawn = nets.normals(prng.stream(key, "weights"), shapes)
        weights = {"kernels": list(map(nets.start_kernel, drawn["kernels"])), "dense": nets.start_dense(drawn["dense"])}
        state = (weights, optax.scale_by_adam().init(weights))
        return jnp.int32(0), jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (len(rows), *leaf.shape)), state)

    def advance(data, key, state):
        images, labels = data
        epoch, networks = state
        order = jax.random.permutation(prng.stream(key, "split"), digits.NUM)
        inside, outside = order[: run.train], order[run.train : run.train + run.test]

        def one(row):
            number, (weights, moments) = row

            def objective(weights, chosen, step):
                at = inside[chosen]
                branches = [lambda w, size=size: logits(number, w, images[size][at]) for size in map(str, used)]
                return nets.loss(jax.lax.switch(turns[number, step % width], branches, weights), labels[at])

            weights, moments, loss = nets.epoch(
                objective, weights, moments, prng.stream(key, "batches"), epoch, rows=run.train, batch=run.batch,
                learning_rate=config.algo.learning_rate, epochs=run.num_steps,
            )  # fmt: skip
            right = [logits(number, weights, x[outside]).argmax(axis=-1) == labels[outside] for x in images.values()]
            found = {f"accuracy/{size}": one.mean() for size, one in zip(images, right, strict=True)}
            return (weights, moments), found | {"loss": loss}

        networks, found = jax.lax.map(one, (jnp.arange(len(rows)), networks))
        return (epoch + 1, networks), found

    def common():
        found = digits.load()
        images = {str(size): jnp.asarray(digits.enlarge(found.images, size)[..., None]) for size in sizes}
        return images, jnp.asarray(found.labels)

    shape = jax.ShapeDtypeStruct
    images = {str(size): shape((digits.NUM, size, size, 1), jnp.float32) for size in sizes}
    return lanes.program(
        config, mesh, draw=lambda key: key, start=start, advance=advance, common=common,
        common_shape=(images, shape((digits.NUM,), jnp.int32)), axes={"row": rows}, in_turn=True,
    )  # fmt: skip


def main(config, run, mesh):
    from experiments.lib import driver
    from experiments.pooling import panels_pyramid

    driver.drive(program(config, mesh), config, run)
    run.look(panels_pyramid.quick_look)


if __name__ == "__main__":
    app.run(main, default_config="configs/pooling/pyramid.py")
