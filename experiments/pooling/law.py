"""Whether a learned norm recovers the law that pooled its sets, and pools larger sets of larger numbers by it.

Targets are seven pools of n in [low, high] numbers from U(0.5, 5). A single branch of GNP per target, with p > 0, or
p < 0 for the harmonic mean and the minimum, is fitted to log targets; DeepSets with three pools of their own are fitted
to three of the targets, by relative error. Metrics at the end of a chunk, on `far` numbers twice as large: `error`
`[R, law]`, the mean |answer / target - 1| of GNP; `p`, `q` `[R, law]`; `sets` `[R, pair]`, the error of DeepSets.
Source: `ko:21`; Laws: `research.pooling.gnp.law`.
"""

from experiments.lib import app

RISING, FALLING = ("sum", "mean", "l2", "sum/sqrt n", "max"), ("harmonic", "min")
LAWS = RISING + FALLING
POOLS = ("sum", "mean", "max")
PAIRS = tuple(f"{pool} for {target}" for pool in POOLS for target in POOLS)


def program(config, mesh):
    import jax
    import jax.numpy as jnp
    import optax

    from experiments.lib import lanes
    from experiments.lib.program import number
    from experiments.pooling import set_fits
    from research.core import prng
    from research.pooling import gnp, superset
    from research.pooling.sets import set_pool

    problem, algo, dtype = config.problem, config.algo, number(config)
    rates = {"norms": algo.learning_rate, "sets": algo.sets_rate}

    def scaled(updates, _):
        return {name: jax.tree.map(lambda leaf, rate=rate: -rate * leaf, updates[name]) for name, rate in rates.items()}

    # Without noise in the targets only the last steps need smaller rates: those of a constant rate still jump.
    last = config.run.num_steps // 3
    falling = optax.scale_by_schedule(optax.linear_schedule(1.0, 0.0, last, config.run.num_steps - last))
    optimizer = optax.chain(optax.scale_by_adam(), falling, optax.stateless(scaled))

    def targets(x, mask):
        """`[B, law]`."""
        size = mask.sum(axis=1, keepdims=True)
        mean = set_pool(x, "mean", mask=mask)
        columns = {
            "sum": mean * size, "mean": mean, "l2": jnp.sqrt(set_pool(x**2, "sum", mask=mask)),
            "sum/sqrt n": mean * jnp.sqrt(size), "max": set_pool(x, "max", mask=mask),
            "harmonic": 1 / set_pool(1 / x, "mean", mask=mask), "min": set_pool(x, "min", mask=mask),
        }  # fmt: skip
        return jnp.concatenate([columns[name] for name in LAWS], axis=1)

    def draw_sets(key, count, sizes, scale):
        of_x, of_size = jax.random.split(key)
        x = scale * jax.random.uniform(of_x, (count, sizes[1], 1), dtype, 0.5, 5.0)
        mask = jnp.arange(sizes[1])[None] < jax.random.randint(of_size, (count, 1), sizes[0], sizes[1] + 1)
        return x, mask, targets(x, mask)

    def batch(key):
        return draw_sets(key, algo.batch, (problem.low, problem.high), 1.0)

    def exponents(branches):
        return {name: jnp.concatenate([getattr(branch, name) for branch in branches]) for name in ("p", "q")}

    def norms(branches, x, mask):
        """`[B, law]`: a channel per law."""
        wide = jnp.broadcast_to(x, (*x.shape[:2], len(LAWS)))
        return set_pool(wide, "gnp", mask=mask, params=exponents(branches))

    def deep(networks, x, mask):
        """`[B, pair]`; all pairs in one program, which selects the pool of each."""
        chosen = jnp.repeat(jnp.eye(len(POOLS), dtype=dtype), len(POOLS), axis=0)

        def answer(network, weights):
            encoded = network.encoder(x)
            pooled = jnp.stack([set_pool(encoded, kind, mask=mask) for kind in POOLS], axis=-1)
            return network.head(pooled @ weights)[:, 0]

        return jax.vmap(answer)(networks, chosen).T

    def paired(target):
        columns = target[:, jnp.array([LAWS.index(name) for name in POOLS])]
        return jnp.tile(columns, (1, len(POOLS)))

    def loss(model, batch):
        x, mask, target = batch
        of_norms = jnp.mean((jnp.log(norms(model["norms"], x, mask)) - jnp.log(target)) ** 2, axis=0).sum()
        some = jax.tree.map(lambda leaf: leaf[: algo.sets_batch], batch)
        of_sets = jnp.mean((deep(model["sets"], *some[:2]) / paired(some[2]) - 1) ** 2, axis=0).sum()
        return of_norms + of_sets

    def create(key):
        keys = jax.random.split(prng.stream(key, "sets"), len(PAIRS))
        branches = (gnp.Branch.create((len(RISING),)), gnp.Branch.create((len(FALLING),), -1))
        networks = jax.vmap(lambda key: superset.DeepSets.create(key, 1, algo.hidden))(keys)
        return jax.tree.map(lambda leaf: leaf.astype(dtype), {"norms": branches, "sets": networks})

    def draw(key):
        return key, draw_sets(prng.stream(key, "test"), problem.test, (problem.far, problem.far), 2.0)

    def advance(_, drawn, fit):
        key, (x, mask, target) = drawn
        fit, _ = set_fits.advance(prng.stream(key, "batches"), fit, optimizer, batch, loss, config.run.chunk)
        branches, networks = fit.model["norms"], fit.model["sets"]
        return fit, {
            "error": jnp.abs(norms(branches, x, mask) / target - 1).mean(axis=0),
            **exponents(branches),
            "sets": jnp.abs(deep(networks, x, mask) / paired(target) - 1).mean(axis=0),
        }

    return lanes.program(
        config, mesh, draw=draw, start=lambda drawn: set_fits.start(create(drawn[0]), optimizer), advance=advance,
        axes={"law": LAWS, "pair": PAIRS},
    )  # fmt: skip


def main(config, run, mesh):
    from experiments.lib import driver
    from experiments.pooling import panels_law

    driver.drive(program(config, mesh), config, run)
    run.look(panels_law.quick_look)


if __name__ == "__main__":
    app.run(main, default_config="configs/pooling/law.py")
