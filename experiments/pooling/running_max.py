"""Bias of the smoothed maximum from minibatches, with and without an average over visits.

A replicate is a bag of fixed scores, N(0, `problem.deviation`^2), and `run.chains` estimates of its smoothed maximum
that never share a draw. A step is a visit of every batch size and every averaging weight; rows are pairs of both.
Metrics, `[R, row]`, over chains: `bias`, the mean of the estimate less the bag's value; `deviation`, its standard
deviation; `unset`, the bias where averages start from 0 instead of the first visit.
Results: `lower` and `leading [row, point, R]`, the proven limit of the bias and its first term; `value [R]`.
Theorem: `research.pooling.robust_bounds.smoothed_max_bias` (T13).
"""

from experiments.lib import app


def rows(config) -> tuple[tuple[int, float], ...]:
    """Batch size and averaging weight of every row."""
    return tuple((batch, weight) for batch in config.algo.batches for weight in config.algo.averagings)


def program(config, mesh):
    import jax
    import jax.numpy as jnp

    from experiments.lib import lanes
    from experiments.lib.program import number
    from research.core import prng
    from research.pooling import stochastic

    asked, chains, dtype, table = config.problem, config.run.chains, number(config), rows(config)
    scale, largest = config.algo.temperature, max(config.algo.batches)
    weights = jnp.array([weight for _, weight in table], dtype)[:, None]

    def draw(key):
        scores = asked.deviation * jax.random.normal(prng.stream(key, "scores"), (asked.size,), dtype)
        return scores, prng.stream(key, "batches")

    def start(_):
        never = jnp.full((len(table), chains), -1e30, dtype)
        return jnp.int32(0), never, never

    def advance(_, drawn, state):
        (scores, key), (step, kept, unset) = drawn, state
        value = stochastic.smoothed_max(scores, scale)
        order = jax.random.uniform(prng.per_step(key, step), (chains, asked.size))
        picked = scores[jax.lax.top_k(order, largest)[1]]  # a smaller batch is the beginning of a larger one
        fresh = jnp.stack([stochastic.smoothed_max(picked[:, :batch], scale) / scale for batch, _ in table])
        kept = stochastic.average(kept, fresh, weights, step == 0)
        unset = stochastic.average(unset, fresh, weights, jnp.asarray(False))
        estimate = scale * kept
        return (step + 1, kept, unset), {
            "bias": estimate.mean(axis=1) - value,
            "deviation": estimate.std(axis=1),
            "unset": (scale * unset).mean(axis=1) - value,
        }

    labels = tuple(f"B = {batch}, γ = {weight:g}" for batch, weight in table)
    return lanes.program(config, mesh, draw=draw, start=start, advance=advance, axes={"row": labels})


def theory(config, drawn):
    """Results of the module's docstring."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    from research.pooling import robust_bounds, stochastic

    scores, _ = drawn
    visits = jnp.arange(config.run.num_steps)

    def limits(batch, weight):
        one = lambda step: robust_bounds.smoothed_max_bias(scores, config.algo.temperature, batch, weight, step)  # noqa: E731
        return jax.vmap(one)(visits)

    found = [limits(batch, weight) for batch, weight in rows(config)]
    return {
        "lower": np.stack([one.lower for one in found]),
        "leading": np.stack([one.leading for one in found]),
        "value": stochastic.smoothed_max(scores, config.algo.temperature),
    }


def main(config, run, mesh):
    from experiments.lib import driver
    from experiments.pooling import panels_running_max

    (_, drawn), _ = driver.drive(program(config, mesh), config, run)
    if not run.results:
        run.results(**theory(config, drawn))
    run.look(panels_running_max.quick_look)


if __name__ == "__main__":
    app.run(main, default_config="configs/pooling/running_max.py")
