"""Image classifiers with any window kind on a user's pictures: ResNet-18, ResNet-50, PoolFormer-S12.

A replicate is a seed, a step an optimiser step. Pictures lie in stripes, split over the devices of the mesh axis
`data`; every batch takes equally many from each stripe, at random, cuts out a random square and mirrors half of them;
these draws do not depend on the mesh. Batch statistics, and the branches that a PoolFormer leaves out, are those of a
device. Metrics, `[R]`, of a chunk of steps: `loss`, mean training loss, nats; `correct`, share of the training pictures
told right; `validation/loss` and `validation/correct` on the middles of the first `run.windows` validation pictures.
Source: `lee:16`, `stergiou:21` and `yu:22` for the question; `he:16` for the residual networks.
"""

from experiments.lib import app

#: Of the channels of ImageNet.
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
#: Names of the parameters that decay: not norms, biases and layer scales.
DECAYED = ("kernel", "wide", "narrow", "head")


def decays(weights):
    """Which parameters decay, as a tree of bool; of flax by key, of equinox by field."""
    import jax

    def one(path, _):
        return getattr(path[-1], "key", getattr(path[-1], "name", "")) in DECAYED

    return jax.tree_util.tree_map_with_path(one, weights)


def striped(config, part, count):
    """Pictures `[stripes, n, side, side, 3]` and labels `[stripes, n]`; the first `count` pictures of the part."""
    import numpy as np

    from experiments.data import image_files
    from experiments.data.fetch import DataError

    asked, per_stripe = config.problem, count // config.problem.stripes
    if asked.source == "synthetic":
        found = image_files.synthetic(part, count=count, side=asked.side, classes=asked.classes)
    else:
        found = image_files.read(asked.source, part, side=asked.side, classes=asked.classes)
    if len(found.labels) < count:
        raise DataError(f"images: {part} must have {count:,} pictures, found {len(found.labels):,}.")
    used = per_stripe * asked.stripes
    shape = (asked.stripes, per_stripe)
    return np.asarray(found.images[:used]).reshape(*shape, *found.images.shape[1:]), found.labels[:used].reshape(shape)


def program(config, mesh):
    import jax
    import jax.numpy as jnp
    import optax
    from jax.sharding import NamedSharding
    from jax.sharding import PartitionSpec as P

    from experiments.lib.program import Program
    from experiments.pooling import digit_nets as nets
    from experiments.pooling import image_models
    from research.core import prng, sharding
    from research.core import validate as checks

    asked, algo, run = config.problem, config.algo, config.run
    model = image_models.build(algo.model, algo.kind, classes=asked.classes, dtype=algo.compute_dtype)
    wide = "data" in mesh.shape
    devices = mesh.shape["data"] if wide else 1
    checks.require(asked.stripes % devices == 0, "config.problem.stripes", f"be a multiple of {devices}", asked.stripes)
    for name in ("batch_size", "windows"):
        fits = run[name] % asked.stripes == 0
        checks.require(fits, f"config.run.{name}", f"be a multiple of {asked.stripes} stripes", run[name])
    per_stripe = run.batch_size // asked.stripes
    everywhere = (lambda tree: jax.lax.pmean(tree, "data")) if wide else (lambda tree: tree)

    rate = optax.warmup_cosine_decay_schedule(0.0, algo.learning_rate, algo.warmup, run.num_steps)
    decay = optax.add_decayed_weights(
        algo.weight_decay, mask=lambda tree: jax.tree.map(lambda leaf: leaf.ndim > 1, tree)
    )
    scale = optax.trace(0.9, nesterov=True) if algo.optimizer == "sgd" else optax.scale_by_adam()
    parts = (decay, scale) if algo.optimizer == "sgd" else (scale, decay)  # coupled in SGD, decoupled in AdamW
    optimizer = optax.chain(*parts, optax.scale_by_learning_rate(rate))

    def cut(image, corner, mirror):
        square = jax.lax.dynamic_slice(image, (*corner, 0), (asked.crop, asked.crop, 3))
        return jnp.where(mirror, square[:, ::-1], square)

    def prepared(images):
        scaled = images.astype(jnp.float32) / 255 - jnp.array(MEAN).reshape(1, 1, 1, 3)
        return (scaled / jnp.array(DEVIATION).reshape(1, 1, 1, 3)).astype(algo.compute_dtype)

    def chosen(images, labels, at):
        """Pictures of every stripe, `at [stripes, n]`, as one batch."""
        take = jax.vmap(lambda pictures, places: pictures[places])
        return (found.reshape(-1, *found.shape[2:]) for found in (take(images, at), take(labels, at)))

    def judged(logits, labels):
        return nets.loss(logits, labels), jnp.mean(logits.argmax(axis=-1) == labels)

    def local(train, test, state, at, corners, mirrors):
        """A device's part of a chunk: its stripes and their draws."""

        def step(state, draws):
            at, corners, mirrors = draws
            weights, statistics, moments, key, number = state
            images, labels = chosen(*train, at)
            squares = jax.vmap(cut)(images, corners.reshape(-1, 2), mirrors.reshape(-1))

            def objective(weights):
                own = prng.per_step(prng.stream(key, "branches"), number)
                own = jax.random.fold_in(own, jax.lax.axis_index("data")) if wide else own
                logits, updated = model.apply(weights, statistics, prepared(squares), own)
                loss, correct = judged(logits, labels)
                return loss, (correct, updated)

            (loss, (correct, statistics)), gradients = jax.value_and_grad(objective, has_aux=True)(weights)
            gradients, statistics, loss, correct = everywhere((gradients, statistics, loss, correct))
            updates, moments = optimizer.update(gradients, moments, weights)
            return (optax.apply_updates(weights, updates), statistics, moments, key, number + 1), (loss, correct)

        state, (loss, correct) = jax.lax.scan(step, state, (at, corners, mirrors))
        images, labels = test
        middle = (asked.side - asked.crop) // 2
        inner = slice(middle, middle + asked.crop)

        def evaluate(part):
            images, labels = part
            return judged(model.apply(state[0], state[1], prepared(images[:, inner, inner]), None)[0], labels)

        found = everywhere(jax.tree.map(jnp.mean, jax.lax.map(evaluate, (images, labels))))
        return state, {
            "loss": loss.mean(), "correct": correct.mean(), "validation/loss": found[0], "validation/correct": found[1],
        }  # fmt: skip

    if wide:
        on, draws = P("data"), P(None, "data")
        local = jax.shard_map(
            local, mesh=mesh, in_specs=(on, on, P(), draws, draws, draws), out_specs=P(), check_vma=False
        )

    def one(data, state):
        """A chunk of one replicate: draws are made at their global shape, whatever the mesh is."""
        train, test = data
        key, number = state[3], state[4]
        shape = (run.chunk, asked.stripes, per_stripe)
        keys = jax.random.split(prng.per_step(prng.stream(key, "batches"), number), 3)
        at = jax.random.randint(keys[0], shape, 0, train[1].shape[1])
        corners = jax.random.randint(keys[1], (*shape, 2), 0, asked.side - asked.crop + 1)
        return local(train, test, state, at, corners, jax.random.bernoulli(keys[2], shape=shape))

    def start(key):
        weights, statistics = model.init(key)
        return weights, statistics, optimizer.init(weights), key, jnp.int32(0)

    def advance(data, state):
        done = [one(data, jax.tree.map(lambda leaf, r=r: leaf[r], state)) for r in range(run.replicates)]
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *done)

    def placed(tree, spec):
        to = NamedSharding(mesh, spec)
        return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=to), tree)

    def abstract(count):
        shape = (asked.stripes, count // asked.stripes)
        images = jax.ShapeDtypeStruct((*shape, asked.side, asked.side, 3), jnp.uint8)
        return images, jax.ShapeDtypeStruct(shape, jnp.int32)

    keys = prng.replicate_keys(prng.root_key(config.seed), run.replicates)
    state = placed(jax.eval_shape(jax.vmap(start), keys), P())
    data = placed((abstract(asked.train), abstract(run.windows)), P("data") if wide else P())

    def init():
        to = jax.tree.map(lambda leaf: leaf.sharding, (data, state))
        loaded = (striped(config, "train", asked.train), striped(config, "validation", run.windows))
        return sharding.put(loaded, to[0]), jax.jit(jax.vmap(start), out_shardings=to[1])(keys)

    return Program(init, jax.jit(advance), (data, state), ("seed",), {})


def main(config, run, mesh):
    from experiments.lib import driver
    from experiments.pooling import panels_imagenet

    driver.drive(program(config, mesh), config, run)
    run.look(panels_imagenet.quick_look)


if __name__ == "__main__":
    app.run(main, default_config="configs/pooling/imagenet.py")
