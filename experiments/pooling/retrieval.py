"""Whether a pool helps to retrieve pictures of classes that training has not seen: zero-shot metric learning.

A network embeds pictures (`retrieval_model`); every picture is drawn towards the proxy of its class and away from the
others', and proxies learn at a rate of their own. Batches cut and mirror pictures as `pooling.imagenet` does; batch
statistics are those of the whole batch (`experiments.lib.striped`: the same on any number of devices). A replicate is
a seed, a step an optimiser step. Metrics, `[R]`, of a chunk of steps: `loss`, mean training loss, nats; `correct`,
share of the training pictures nearest to their own proxy; and on the middles of all validation pictures, each asking
among all others, `validation/recall_1` to `recall_8` and `validation/map_r` (`retrieval_scores`), in [0, 1].

A folder is as `image_files` reads it, with its labels numbered through: 0..classes - 1 in training, classes..classes +
unseen - 1 in validation, and with exactly `problem.train` and `run.windows` pictures.
Source: `gurbuz:23` for the question; `teh:20` for loss and proxies; `radenovic:19` for GeM; `he:16` for networks;
`wah:11` and `krause:13` for the pictures that are meant.
"""

from experiments.lib import app


def program(config, mesh):
    import jax.numpy as jnp
    import optax

    from experiments.data import image_files, patch_images
    from experiments.lib import striped
    from experiments.pooling import image_models, pretrained, retrieval_model, retrieval_scores

    asked, algo, run = config.problem, config.algo, config.run
    network = retrieval_model.build(algo, classes=asked.classes, axis_name=striped.axis_name(mesh))

    def draw(key, shape):
        return image_models.draw_squares(key, shape, asked.side, asked.crop)

    def objective(weights, statistics, examples, draws, _):
        images, labels = examples
        x = image_models.squares(images, *draws, asked.crop, algo.compute_dtype)
        embeddings, statistics = network.embed(weights, statistics, x, True)
        logits = retrieval_model.proxy_logits(embeddings, weights["proxies"], algo.temperature)
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
        right = (logits.argmax(axis=-1) == labels).sum(dtype=jnp.float32)
        return {"loss": losses.sum(), "correct": right, "weight": jnp.float32(len(labels))}, statistics

    def predict(weights, statistics, examples):
        x = image_models.middles(examples.images, asked.crop, algo.compute_dtype)
        return network.embed(weights, statistics, x, False)[0]

    def judge(embeddings, examples):
        return retrieval_scores.scores(embeddings, examples.labels)

    counts = {"train": asked.train, "validation": run.windows}

    def load():
        return tuple(one_part(part, count) for part, count in counts.items())

    def one_part(part, count):
        if asked.source == "synthetic":
            return patch_images.synthetic(
                part, count=count, side=asked.side, classes=asked.classes, unseen=asked.unseen,
                foreground=asked.foreground, nuisances=asked.nuisances,
            )  # fmt: skip
        first, classes = (0, asked.classes) if part == "train" else (asked.classes, asked.classes + asked.unseen)
        return image_files.load(
            asked.source, part, count=count, side=asked.side, first=first, classes=classes, whole=True
        )  # fmt: skip

    def rated(rate):
        schedule = optax.warmup_cosine_decay_schedule(0.0, rate, algo.warmup, run.num_steps)
        return optax.chain(optax.scale_by_adam(eps=algo.epsilon), optax.scale_by_learning_rate(schedule))

    optimizer = optax.partition(
        {"proxies": rated(algo.proxy_rate), "others": rated(algo.learning_rate)},
        lambda weights: {name: "proxies" if name == "proxies" else "others" for name in weights},
    )
    task = striped.Task(network.init, objective, predict, judge, draw)
    like = tuple(image_files.like(count, asked.side) for count in counts.values())
    built = striped.program(config, mesh, task, optimizer=optimizer, load=load, like=like)
    if not algo.weights:
        return built

    def init():
        data, (weights, statistics, *rest) = built.init()
        backbone, statistics = pretrained.backbone(algo, weights["backbone"], statistics)
        return data, (weights | {"backbone": backbone}, statistics, *rest)

    return built._replace(init=init)


def main(config, run, mesh):
    from experiments.lib import driver
    from experiments.pooling import panels_retrieval

    driver.drive(program(config, mesh), config, run)
    run.look(panels_retrieval.quick_look)


if __name__ == "__main__":
    app.run(main, default_config="configs/pooling/retrieval.py")
