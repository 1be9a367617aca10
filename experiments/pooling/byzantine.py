"""Aggregation of workers' vectors of which f are sent by an adversary, for f from 0 to less than half.

A replicate is a trial: a unit vector as the truth, `problem.workers` vectors that are the truth and normal noise of
norm `problem.noise` on average, and attacks that replace the first f of them: `problem.random` times standard normal
entries, the honest vector times -`problem.flip`, one vector of length `problem.together` for all. Step s has f = s - 1.
Rows are pairs of an aggregator and an attack. Metrics, `[R, row]`: `error`, the distance of the aggregate from the
truth; `misaligned`, 1 less the cosine between them.
Results: `allowed [point, R]`, the limit of the geometric median's error from the honest vectors' largest distance, and
`range [point, R]`, that of the median's and of the trimmed mean's, from their largest deviations by coordinate.
Theorem: `research.pooling.robust_bounds.geometric_median_error` and `coordinate_error` (T19).
"""

from experiments.lib import app

AGGREGATORS = ("mean", "median", "trimmed mean", "geometric median", "flag")
ATTACKS = ("random", "sign flip", "together")


def labels() -> tuple[str, ...]:
    """Of the rows, in the order of metrics."""
    return tuple(f"{aggregator}, {attack}" for aggregator in AGGREGATORS for attack in ATTACKS)


def draw_trial(asked, key, dtype):
    """Truth `[D]`, honest vectors `[N, D]`, what attackers send `[attack, N, D]`."""
    import jax
    import jax.numpy as jnp

    of_truth, of_noise, of_random, of_side = jax.random.split(key, 4)
    shape = (asked.workers, asked.size)
    truth = jax.random.normal(of_truth, (asked.size,), dtype)
    truth = truth / jnp.linalg.norm(truth)
    honest = truth[None] + asked.noise * asked.size**-0.5 * jax.random.normal(of_noise, shape, dtype)
    anything = asked.random * jax.random.normal(of_random, shape, dtype)
    side = jax.random.normal(of_side, (asked.size,), dtype)
    together = jnp.broadcast_to(asked.together * side / jnp.linalg.norm(side), shape)
    return truth, honest, jnp.stack([anything, -asked.flip * honest, together])


def program(config, mesh):
    import jax
    import jax.numpy as jnp

    from experiments.lib import lanes
    from experiments.lib.program import number
    from research.core import prng
    from research.pooling import robust

    asked, dtype = config.problem, number(config)

    def advance(_, drawn, bad):
        truth, honest, attacks = drawn
        x = jnp.where((jnp.arange(asked.workers) < bad)[None, :, None], attacks, honest[None])
        found = jnp.stack([
            x.mean(axis=1),
            robust.robust_pool(x, "median"),
            robust.robust_pool(x, "trimmed_mean", trim=bad),
            robust.robust_pool(x, "geometric_median"),
            robust.robust_pool(x, "flag", rank=config.algo.rank, rescale="median_norm"),
        ]).reshape(-1, asked.size)  # fmt: skip
        return bad + 1, {
            "error": jnp.linalg.norm(found - truth[None], axis=-1),
            "misaligned": 1 - found @ truth / jnp.linalg.norm(found, axis=-1),
        }

    return lanes.program(
        config, mesh, draw=lambda key: draw_trial(asked, prng.stream(key, "trial"), dtype),
        start=lambda drawn: jnp.int32(0), advance=jax.jit(advance), axes={"row": labels()},
    )  # fmt: skip


def limits(config, drawn):
    """Results of the module's docstring; what is left of the honest vectors after f were replaced counts."""
    import numpy as np

    from research.pooling import robust_bounds

    truth, honest, _ = (np.asarray(part) for part in drawn)
    apart = np.linalg.norm(honest - truth[:, None], axis=-1)
    counts = range(config.run.num_steps)
    return {
        "allowed": [
            robust_bounds.geometric_median_error(config.problem.workers, bad, apart[:, bad:].max(axis=1))
            for bad in counts
        ],
        "range": [robust_bounds.coordinate_error(honest[:, bad:], truth) for bad in counts],
    }


def main(config, run, mesh):
    import numpy as np

    from experiments.lib import driver
    from experiments.pooling import panels_byzantine

    (_, drawn), _ = driver.drive(program(config, mesh), config, run)
    if not run.results:
        run.results(**{name: np.stack(values) for name, values in limits(config, drawn).items()})
    run.look(panels_byzantine.quick_look)


if __name__ == "__main__":
    app.run(main, default_config="configs/pooling/byzantine.py")
