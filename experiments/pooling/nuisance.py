"""Whether a pool ignores what all classes have in common: few features of an image carry its class, the others do not.

An image is `features` vectors: a share of them its class's direction, the others nuisance directions, all with noise.
A linear classifier is trained on the pooled vector, with the prototypes of generalized sum pooling (GSP) where the pool
has them, at `foreground`, and tested there and at `scarce`, a smaller share. Metrics `[R, pool]` at the end of a chunk:
`accuracy` and `scarce`, in [0, 1]; `mass`, the share of the weights on features that carry the class, at `foreground`
(that share itself for pools without weights); `imbalance`, the largest |mean alpha - 1|.
Theorem: T8, `research.pooling.set_bounds.threshold_limits`. Source: `gurbuz:23`.
"""

from experiments.lib import app


def program(config, mesh):
    import jax
    import jax.numpy as jnp
    import optax

    from experiments.lib import lanes
    from experiments.lib.program import number
    from experiments.pooling import set_fits
    from research.core import prng
    from research.pooling import gsp, set_bounds

    problem, algo, dtype, pools = config.problem, config.algo, number(config), tuple(config.algo.pools)
    optimizer = optax.adam(optax.cosine_decay_schedule(algo.learning_rate, config.run.num_steps))
    gammas = jnp.array([float(pool.partition("=")[2]) for pool in pools if pool.startswith("GSP")], dtype)

    def images(key, directions, count, share):
        keys = jax.random.split(key, 3)
        label = jax.random.randint(keys[0], (count,), 0, problem.classes)
        common = jax.random.randint(keys[1], (count, problem.features), 0, problem.nuisances) + problem.classes
        carries = jnp.arange(problem.features) < round(share * problem.features)
        kind = jnp.where(carries[None], label[:, None], common)
        noise = problem.noise * jax.random.normal(keys[2], (count, problem.features, problem.dim), dtype)
        return directions[kind] + noise, label, carries

    def create(key):
        """A head per pool, and prototypes of every GSP, the same at the start."""
        first = gsp.GSP.create(prng.stream(key, "start"), problem.dim, algo.prototypes).prototypes.astype(dtype)
        heads = jnp.zeros((len(pools), problem.dim + 1, problem.classes), dtype)
        return heads, jnp.tile(first[None], (len(gammas), 1, 1))

    def pooled(model, x):
        """`[pool, B, D]`, and the weights of GSP `[GSP, B, N]`."""
        plans = jax.vmap(lambda p, gamma: gsp.plan(gsp.costs(x, p), algo.mu, gamma).weight)(model[1], gammas)
        plain = {"mean": x.mean(axis=1), "max": x.max(axis=1)}
        rows = [plain[pool] for pool in pools if pool in plain]
        weighted = jnp.einsum("kbn,bnd->kbd", plans, x) / x.shape[1]
        return jnp.concatenate([jnp.stack(rows), weighted]), plans

    def logits(heads, y):
        return jnp.einsum("kbd,kdc->kbc", y, heads[:, :-1]) + heads[:, -1:]

    def loss(model, batch):
        x, label, _ = batch
        found = logits(model[0], pooled(model, x)[0])
        labels = jnp.broadcast_to(label[None], found.shape[:2])
        return optax.softmax_cross_entropy_with_integer_labels(found, labels).mean(axis=1).sum()

    def draw(key):
        shape = (problem.classes + problem.nuisances, problem.dim)
        directions = jax.random.normal(prng.stream(key, "directions"), shape, dtype)
        directions = directions / jnp.linalg.norm(directions, axis=1, keepdims=True)
        tests = [
            images(prng.stream(key, name), directions, problem.test, problem[name]) for name in ("foreground", "scarce")
        ]
        return key, directions, tests

    def accuracy(model, test):
        y, plans = pooled(model, test[0])
        return (logits(model[0], y).argmax(axis=-1) == test[1][None]).mean(axis=1, dtype=dtype), plans

    def advance(_, drawn, fit):
        key, directions, tests = drawn
        fit, _ = set_fits.advance(
            prng.stream(key, "batches"), fit, optimizer,
            lambda key: images(key, directions, algo.batch, problem.foreground), loss, config.run.chunk,
        )  # fmt: skip
        (usual, plans), (scarce, _) = (accuracy(fit.model, test) for test in tests)
        plain = jnp.full(len(pools) - len(gammas), tests[0][2].mean(dtype=dtype))
        mass = (plans * tests[0][2][None, None]).sum(axis=-1).mean(axis=1) / problem.features
        low, high = set_bounds.threshold_limits(algo.mu)
        imbalance = jnp.abs(plans.mean(axis=-1) - 1).max(axis=1)
        outside = jnp.maximum(low - plans, plans - high).max(axis=(1, 2))
        none = jnp.zeros_like(plain)
        return fit, {
            "accuracy": usual, "scarce": scarce, "mass": jnp.concatenate([plain, mass]),
            "imbalance": jnp.concatenate([none, imbalance]), "outside": jnp.concatenate([none, outside]),
        }  # fmt: skip

    return lanes.program(
        config, mesh, draw=draw, start=lambda drawn: set_fits.start(create(drawn[0]), optimizer), advance=advance,
        axes={"pool": pools},
    )  # fmt: skip


def main(config, run, mesh):
    from experiments.lib import driver
    from experiments.pooling import panels_nuisance

    driver.drive(program(config, mesh), config, run)
    run.look(panels_nuisance.quick_look)


if __name__ == "__main__":
    app.run(main, default_config="configs/pooling/nuisance.py")
