"""Poolings of a frozen language model's hidden states: mean, maximum, last, weighted by position, attention, GLOT.

The user's states lie over the devices of the mesh axis `data` (`experiments.lib.striped`); without a user's folder they
are the sequences with distractors of `experiments.pooling.distractors`. Every pooling has the same two-layer head, and
all are trained at once by Adam on the sum of their losses: they share no parameter, and Adam works entry by entry, so
that each is trained as if alone. A replicate is a seed, a step an optimiser step.
Metrics, `[R]`, of a chunk of steps: `loss/<pooling>`, mean training loss, nats; `validation/loss/<pooling>`,
`validation/correct/<pooling>`, share told right, and `validation/matthews/<pooling>`, the correlation of classes told
and true (`gorodkin:04`), 0 where one class is told of all.
Source: `mantri:26`.
"""

from experiments.lib import app


def matthews(told, labels, classes: int):
    """Matthews' correlation of classes told with true ones, `[n]` each; 0 where either is constant."""
    import jax
    import jax.numpy as jnp

    both = jax.nn.one_hot(labels, classes).T @ jax.nn.one_hot(told, classes) / len(labels)
    true, said = both.sum(axis=1), both.sum(axis=0)
    spread = (1 - true @ true) * (1 - said @ said)
    return jnp.where(spread > 0, (jnp.trace(both) - true @ said) / jnp.sqrt(jnp.where(spread > 0, spread, 1)), 0)


def synthetic(problem, part: str):
    """Sequences with distractors; both parts have the same topics and marks."""
    import jax
    import numpy as np

    from experiments.data import part_files, state_files
    from experiments.pooling import distractors
    from research.core import prng

    counts = [problem[name] for name in part_files.PARTS]
    place = part_files.PARTS.index(part)
    rows = np.arange(sum(counts[:place]), sum(counts[: place + 1]))

    def make():
        key = prng.stream(prng.root_key(0), "states")
        topics, marks, labels = distractors.sequences(key, sum(counts), problem.ratio, problem)
        return distractors.tokens(key, topics, marks, rows, problem), labels[rows]

    states, labels = jax.jit(make)()
    tokens = distractors.num_distractors(problem.ratio, problem.length) + 2
    lengths = np.full(len(rows), tokens, np.int32)
    return state_files.States(np.asarray(states, problem.dtype), lengths, np.asarray(labels, np.int32))


def program(config, mesh):
    import jax.numpy as jnp
    import optax

    from experiments.data import part_files, state_files
    from experiments.lib import striped
    from experiments.pooling import token_heads
    from research.core import validate as checks

    asked, algo = config.problem, config.algo
    poolings = tuple(algo.poolings)
    for pooling in poolings:
        checks.one_of("config.algo.poolings", pooling, token_heads.POOLINGS)
    heads = token_heads.Setting(algo.head, algo.hidden, algo.layers, algo.threshold)

    def start(key):
        return token_heads.create(key, poolings, asked.channels, asked.classes, heads), ()

    def found(weights, examples):
        """Logits `[n, K]` by pooling."""
        mask = jnp.arange(asked.length)[None] < examples.lengths[:, None]
        return {name: token_heads.logits(weights[name], name, examples.states, mask) for name in poolings}

    def losses(logits, labels):
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels)

    def objective(weights, statistics, examples, draws, key):
        sums = {
            f"loss/{name}": losses(logits, examples.labels).sum() for name, logits in found(weights, examples).items()
        }
        return sums | {"loss": sum(sums.values()), "weight": jnp.float32(len(examples.labels))}, statistics

    def predict(weights, statistics, examples):
        return {
            name: (losses(logits, examples.labels), logits.argmax(axis=-1))
            for name, logits in found(weights, examples).items()
        }

    def judge(outputs, examples):
        seen = {}
        for name, (loss, told) in outputs.items():
            seen[f"loss/{name}"] = loss.mean()
            seen[f"correct/{name}"] = jnp.mean(told == examples.labels)
            seen[f"matthews/{name}"] = matthews(told, examples.labels, asked.classes)
        return seen

    def load():
        if asked.source == "synthetic":
            return tuple(synthetic(asked, part) for part in part_files.PARTS)
        sizes = {name: asked[name] for name in ("length", "channels", "dtype", "classes")}
        return tuple(state_files.read(asked.source, part, count=asked[part], **sizes) for part in part_files.PARTS)

    like = tuple(state_files.like(asked[part], asked.length, asked.channels, asked.dtype) for part in part_files.PARTS)
    rate = optax.cosine_decay_schedule(algo.learning_rate, config.run.num_steps)
    task = striped.Task(start, objective, predict, judge)
    return striped.program(config, mesh, task, optimizer=optax.adam(rate), load=load, like=like)


def main(config, run, mesh):
    from experiments.lib import driver
    from experiments.pooling import panels_frozen_states

    driver.drive(program(config, mesh), config, run)
    run.look(panels_frozen_states.quick_look)


if __name__ == "__main__":
    app.run(main, default_config="configs/pooling/frozen_states.py")
