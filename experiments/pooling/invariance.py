"""What the pool of a small network does to its accuracy on digits that have been moved, turned and scaled.

A replicate is a seed: the split, the first weights and the order of the batches, the same for all pools. Each pool
trains a network of its own, conv 12 - pool - conv 24 - pool - conv 32 - mean - dense. A step is an epoch. Metrics:
`loss [R, pool]`, the mean training loss, nats. Results, `[R, pool]`: `accuracy/<change>`, the share of the test
pictures told right after the last epoch; `share`, what mixed pooling learned at its first place, `exponent`, the power
mean's.
Source: `lee:16`, section 4, for the question; the network and the pictures are ours.
"""

from experiments.lib import app

_SIDES = ((0, 1), (0, -1), (1, 0), (-1, 0))


def _shifts(pixels):
    return tuple({"shift": (pixels * down, pixels * right)} for down, right in _SIDES)


#: Change -> its variants, over which accuracy is averaged: a shift goes to each of the four sides.
CHANGES = {
    "clean": ({},), "shift 1": _shifts(1), "shift 2": _shifts(2), "shift 3": _shifts(3), "turn 15": ({"angle": 15},),
    "turn 30": ({"angle": 30},), "scale 0.8": ({"scale": 0.8},), "scale 1.2": ({"scale": 1.2},),
}  # fmt: skip
VARIANTS = tuple((change, variant) for change, variants in CHANGES.items() for variant in variants)
CANVAS = 24
WIDTHS = (12, 24, 32)


def pictures():
    """All digits under every variant, `[variant, n, 24, 24, 1]`, and their labels `[n]`."""
    import numpy as np

    from experiments.data import digits

    found = digits.load()
    images = digits.on_canvas(found.images, CANVAS)
    return np.stack([digits.moved(images, **variant) for _, variant in VARIANTS])[..., None], found.labels


def split(key, run):
    """Numbers of the training and of the test pictures of a seed."""
    import jax

    from experiments.data import digits
    from research.core import prng

    order = jax.random.permutation(prng.stream(key, "split"), digits.NUM)
    return order[: run.train], order[run.train : run.train + run.test]


def logits(names, which, weights, x):
    """Of the network whose pool is the (traced) number `which` of `names`."""
    from experiments.pooling import digit_nets as nets

    for kernel, pools in zip(weights["kernels"], weights["pools"], strict=False):
        x = nets.pool(names, which, pools, nets.convolve(x, kernel))
    x = nets.convolve(x, weights["kernels"][2]).mean(axis=(1, 2))
    matrix, bias = weights["dense"]
    return x @ matrix + bias


def accuracies(config, data, keys, weights):
    """Change -> `[R, pool]`; `weights` have these two axes first."""
    import jax
    import jax.numpy as jnp

    names = tuple(config.algo.pools)

    @jax.jit
    def right(data, key, weights):
        images, labels = data
        outside = split(key, config.run)[1]

        def one(row):
            number, weights = row
            told = jax.lax.map(lambda x: logits(names, number, weights, x).argmax(axis=-1), images[:, outside])
            return jnp.mean(told == labels[outside][None], axis=1)

        return jax.lax.map(one, (jnp.arange(len(names)), weights))

    take = lambda r: jax.tree.map(lambda leaf: leaf[r], weights)  # noqa: E731
    found = jnp.stack([right(data, keys[r], take(r)) for r in range(config.run.replicates)])
    at = {change: [i for i, (name, _) in enumerate(VARIANTS) if name == change] for change in CHANGES}
    return {f"accuracy/{change}": found[..., jnp.array(places)].mean(axis=-1) for change, places in at.items()}


def program(config, mesh):
    import jax
    import jax.numpy as jnp
    import optax

    from experiments.data import digits
    from experiments.lib import lanes
    from experiments.pooling import digit_nets as nets
    from research.core import prng

    names, run = tuple(config.algo.pools), config.run

    shapes = {
        "kernels": [(3, 3, *io) for io in zip((1, *WIDTHS), WIDTHS, strict=False)],
        "dense": (WIDTHS[2], digits.CLASSES),
        "pools": [nets.pool_shapes(channels) for channels in WIDTHS[:2]],
    }  # fmt: skip

    def start(key):
        drawn = nets.normals(prng.stream(key, "weights"), shapes)
        weights = {
            "kernels": list(map(nets.start_kernel, drawn["kernels"])), "dense": nets.start_dense(drawn["dense"]),
            "pools": list(map(nets.start_pools, drawn["pools"])),
        }  # fmt: skip
        state = (weights, optax.scale_by_adam().init(weights))
        return jnp.int32(0), jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (len(names), *leaf.shape)), state)

    def advance(data, key, state):
        images, labels = data
        number, networks = state
        inside = split(key, run)[0]

        def one(row):
            which, (weights, moments) = row

            def objective(weights, rows, _):
                return nets.loss(logits(names, which, weights, images[0][inside[rows]]), labels[inside[rows]])

            weights, moments, loss = nets.epoch(
                objective, weights, moments, prng.stream(key, "batches"), number, rows=run.train, batch=run.batch,
                learning_rate=config.algo.learning_rate, epochs=run.num_steps,
            )  # fmt: skip
            return (weights, moments), loss

        networks, loss = jax.lax.map(one, (jnp.arange(len(names)), networks))
        return (number + 1, networks), {"loss": loss}

    def common():
        return tuple(map(jnp.asarray, pictures()))

    shape = (
        jax.ShapeDtypeStruct((len(VARIANTS), digits.NUM, CANVAS, CANVAS, 1), jnp.float32),
        jax.ShapeDtypeStruct((digits.NUM,), jnp.int32),
    )
    return lanes.program(
        config, mesh, draw=lambda key: key, start=start, advance=advance, common=common, common_shape=shape,
        axes={"pool": names}, in_turn=True,
    )  # fmt: skip


def main(config, run, mesh):
    from experiments.lib import driver
    from experiments.pooling import panels_invariance

    (data, keys), (_, (weights, _)) = driver.drive(program(config, mesh), config, run)
    if not run.results:
        first = weights["pools"][0]
        found = accuracies(config, data, keys, weights)
        run.results(share=first.share, exponent=first.exponent, **found)
    run.look(panels_invariance.quick_look)


if __name__ == "__main__":
    app.run(main, default_config="configs/pooling/invariance.py")
