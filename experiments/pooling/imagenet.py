"""Image classifiers with any window kind on a user's pictures: ResNet-18, ResNet-50, PoolFormer-S12.

A replicate is a seed, a step an optimiser step. Every batch cuts a random square out of each picture and mirrors half
of them; batch statistics are those of the whole batch (`experiments.lib.striped`: the same on any number of devices),
or of each device's part with `algo.statistics` "device".
Metrics, `[R]`, of a chunk of steps: `loss`, mean training loss, nats; `correct`, share of the training pictures told
right; `validation/loss` and `validation/correct` on the middles of the first `run.windows` validation pictures.
Source: `lee:16`, `stergiou:21` and `yu:22` for the question; `he:16` for the residual networks; `goyal:17` for rates at
large batches.
"""

from experiments.lib import app


def program(config, mesh):
    import jax
    import jax.numpy as jnp
    import optax

    from experiments.data import image_files
    from experiments.lib import striped
    from experiments.pooling import image_models
    from research.core import prng

    asked, algo, run = config.problem, config.algo, config.run
    model = image_models.build(
        algo.model, algo.kind, classes=asked.classes, dtype=algo.compute_dtype, axis_name=striped.axis_name(mesh),
        statistics=algo.statistics,
    )  # fmt: skip

    def draw(key, shape):
        squares = image_models.draw_squares(key, shape, asked.side, asked.crop)
        return squares, jax.random.split(prng.stream(key, "branches"), shape)

    def sums(logits, labels):
        right = logits.argmax(axis=-1) == labels
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
        return {"loss": losses, "correct": right.astype(jnp.float32)}

    def objective(weights, statistics, examples, draws, _):
        images, labels = examples
        squares, branches = draws
        x = image_models.squares(images, *squares, asked.crop, algo.compute_dtype)
        logits, statistics = model.apply(weights, statistics, x, branches)
        total = jax.tree.map(jnp.sum, sums(logits, labels))
        return total | {"weight": jnp.float32(len(labels))}, statistics

    def predict(weights, statistics, examples):
        images, labels = examples
        x = image_models.middles(images, asked.crop, algo.compute_dtype)
        return sums(model.apply(weights, statistics, x, None)[0], labels)

    def judge(outputs, _):
        return jax.tree.map(jnp.mean, outputs)

    counts = {"train": asked.train, "validation": run.windows}

    def load():
        options = {"side": asked.side, "classes": asked.classes}
        return tuple(image_files.load(asked.source, part, count=count, **options) for part, count in counts.items())

    like = tuple(image_files.like(count, asked.side) for count in counts.values())
    rate = optax.warmup_cosine_decay_schedule(0.0, algo.learning_rate, algo.warmup, run.num_steps)
    decay = optax.add_decayed_weights(algo.weight_decay, mask=image_models.decays)
    scale = optax.trace(0.9, nesterov=True) if algo.optimizer == "sgd" else optax.scale_by_adam()
    parts = (decay, scale) if algo.optimizer == "sgd" else (scale, decay)  # coupled in SGD, decoupled in AdamW
    optimizer = optax.chain(*parts, optax.scale_by_learning_rate(rate))
    task = striped.Task(model.init, objective, predict, judge, draw)
    return striped.program(config, mesh, task, optimizer=optimizer, load=load, like=like)


def main(config, run, mesh):
    from experiments.lib import driver
    from experiments.pooling import panels_imagenet

    driver.drive(program(config, mesh), config, run)
    run.look(panels_imagenet.quick_look)


if __name__ == "__main__":
    app.run(main, default_config="configs/pooling/imagenet.py")
