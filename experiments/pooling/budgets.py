"""Captions from a number of visual tokens that is drawn anew at every step, against models trained on one number.

A replicate is a seed, a step an optimiser step. A step's budget is drawn from `algo.budgets` with equal chances, the
same for the whole batch; with one of them, training has that number always. Every model is validated at every one of
`problem.budgets`, those that it has not been trained on included. A caption's tokens are told from the picture and the
true tokens before them.
Metrics, `[R]`, of a chunk of steps: `loss`, mean training loss, nats per token; `correct`, share of the training tokens
told right; `tokens`, mean visual tokens of a picture; `validation/loss/<n>` and `validation/correct/<n>` with n visual
tokens.
Source: `hu:25`. Departure: its decoder is a large language model trained before, ours starts at random.
"""

from experiments.lib import app


def program(config, mesh):
    import jax
    import jax.numpy as jnp
    import optax

    from experiments.data import caption_files, part_files
    from experiments.lib import striped
    from experiments.pooling import captioner
    from research.core import prng
    from research.core import validate as checks
    from research.pooling import token_budgets

    asked, algo, run = config.problem, config.algo, config.run
    checks.require(algo.width % algo.heads == 0, "config.algo.width", f"be in {algo.heads} equal heads", algo.width)
    checks.require(algo.warmup < run.num_steps, "config.algo.warmup", f"be < {run.num_steps} steps", algo.warmup)
    for name, budgets in (("config.problem.budgets", asked.budgets), ("config.algo.budgets", algo.budgets)):
        checks.require(len(budgets) >= 1, name, "have a number of visual tokens", budgets)
    shape = {"grid": asked.grid, "width": asked.width, "length": asked.length}
    sizes = {name: algo[name] for name in ("width", "layers", "heads", "hidden", "remat")}
    model = captioner.Captioner(asked.vocabulary, **sizes)

    def sums(weights, features, captions, budget):
        logits = captioner.tell(model, weights, features, captions, budget, algo.compute_dtype)
        return captioner.sums(logits, captions)

    def start(key):
        features = jnp.zeros((1, asked.grid, asked.grid, asked.width))
        captions = jnp.zeros((1, asked.length), jnp.int32)
        return model.init(prng.stream(key, "weights"), features, captions, algo.budgets[0])["params"], ()

    def objective(weights, statistics, examples, draws, key):
        features, captions = examples

        def branch(budget):
            return lambda weights: jax.tree.map(jnp.sum, sums(weights, features, captions, budget))

        chosen = token_budgets.draw_budget(key, 0, algo.budgets)  # the key is the step's own
        total = jax.lax.switch(chosen, [branch(budget) for budget in algo.budgets], weights)
        weight = (captions >= 0).sum().astype(jnp.float32)
        return total | {"tokens": jnp.array(algo.budgets)[chosen] * weight, "weight": weight}, statistics

    def predict(weights, statistics, examples):
        return {
            f"{name}/{budget}": value
            for budget in asked.budgets
            for name, value in sums(weights, *examples, budget).items()
        }

    def judge(outputs, examples):
        weight = (examples.captions >= 0).sum()
        return jax.tree.map(lambda leaf: leaf.sum() / weight, outputs)

    def load():
        options = {**shape, "vocabulary": asked.vocabulary}
        return tuple(caption_files.load(asked.source, part, count=asked[part], **options) for part in part_files.PARTS)

    like = tuple(caption_files.like(asked[part], **shape) for part in part_files.PARTS)
    rate = optax.warmup_cosine_decay_schedule(0.0, algo.learning_rate, algo.warmup, run.num_steps)
    adam = optax.adamw(rate, b2=0.95, weight_decay=algo.weight_decay, mask=captioner.decays)
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), adam)
    task = striped.Task(start, objective, predict, judge)
    return striped.program(config, mesh, task, optimizer=optimizer, load=load, like=like)


def main(config, run, mesh):
    from experiments.lib import driver
    from experiments.pooling import panels_budgets

    driver.drive(program(config, mesh), config, run)
    run.look(panels_budgets.quick_look)


if __name__ == "__main__":
    app.run(main, default_config="configs/pooling/budgets.py")
