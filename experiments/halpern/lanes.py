"""What a lane costs: Algorithm 1 on least squares alone, eight at a time with shared coins, eight with their own.

With coins of their own, the branch of a refresh becomes a selection under `jax.vmap`: every lane evaluates the full
operator at every iteration. A step runs one of the three from the start (`VARIANTS`, in turn; the first lap warms up);
`timing.jsonl` has its seconds. Metrics, `[R, lane]`: `calls`, what the method counts (which no way of compiling
changes), and `residual`; where there is one lane, it is repeated.
Results: `evaluated [2]`, full operators that were really evaluated per iteration and lane, with shared coins and with
own ones, counted by a callback in a run of `config.run.counted` iterations, monitoring apart; `rate`, the mean
probability of a refresh over them, which is what one lane alone evaluates.
Source: none, it is how batches are compiled (`research.halpern.lanes`).
"""

from experiments.lib import app

VARIANTS = ("alone", "shared coins", "own coins")


def instance(config):
    """The problem; rows s_j eps_j with s_j = 1 / j."""
    import jax
    import jax.numpy as jnp

    from research.core import prng
    from research.halpern import finite_sums
    from research.halpern.inclusions import Problem

    n, d = config.problem.size, config.problem.columns
    key = prng.root_key(config.seed)
    features = jax.random.rademacher(prng.stream(key, "rows"), (n, d), jnp.float32) / jnp.arange(1.0, d + 1)[None]
    noise = 0.1 * jax.random.normal(prng.stream(key, "noise"), (n,))
    return Problem(finite_sums.least_squares(features, features.sum(axis=1) + noise, law="uniform"), jnp.zeros(d))


def variants(config, iterations):
    """Functions `(problem, key) -> page.Result` of so many iterations, in the order of `VARIANTS`."""
    import jax

    from research.core import prng
    from research.halpern import lanes, page

    params, count = page.Params(num_steps=1, stride=iterations), config.problem.lanes

    def own(problem, key):
        return jax.vmap(lambda key: page.run(problem, params, key))(prng.replicate_keys(key, count))

    return (
        lambda problem, key: lanes.run(page, problem, params, key, 1),
        lambda problem, key: lanes.run(page, problem, params, key, count),
        own,
    )


def program(config, mesh):
    import jax
    import jax.numpy as jnp

    from experiments.lib import lanes
    from research.core import loops

    runs = variants(config, config.run.iterations)

    def advance(problem, key, step):
        def measured(run):
            result = run(problem, key)
            calls = loops.approximate(result.trace.calls, jnp.float32)
            return tuple(jnp.broadcast_to(a[:, -1], config.problem.lanes) for a in (calls, result.trace.residual))

        calls, residual = jax.lax.switch(step % len(runs), [lambda run=run: measured(run) for run in runs])
        return step + 1, {"calls": calls, "residual": residual}

    return lanes.program(
        config, mesh, draw=lambda key: key, start=lambda _: jnp.int32(0), advance=advance,
        common=jax.jit(lambda: instance(config)), in_turn=True,
        axes={"lane": tuple(str(lane) for lane in range(config.problem.lanes)), "variant": VARIANTS},
    )  # fmt: skip


def main(config, run, mesh):
    from experiments.halpern import panels_lanes
    from experiments.lib import driver

    (problem, _), _ = driver.drive(program(config, mesh), config, run)
    if not run.results:
        run.results(**count(config, problem))
    run.look(panels_lanes.quick_look)


def count(config, problem):
    """Full operators really evaluated."""
    import dataclasses

    import jax
    import numpy as np

    from research.core import prng
    from research.halpern import finite_sums, schedules
    from research.halpern.inclusions import Problem

    ticks, width = [], config.problem.lanes

    class Counted(finite_sums.LeastSquares):
        def full(self, u):
            jax.debug.callback(lambda _: ticks.append(1), u[0])  # once per lane that evaluates
            return super().full(u)

    given, iterations = problem.inclusion, config.run.counted
    counted = Counted(**{field.name: getattr(given, field.name) for field in dataclasses.fields(given)})
    evaluated = []
    for run in variants(config, iterations)[1:]:
        ticks.clear()
        jax.block_until_ready(jax.jit(run)(Problem(counted, problem.start), prng.root_key(config.seed)))
        jax.effects_barrier()
        monitored = width + 1  # the last points of all lanes, and the start, which they share
        evaluated.append((len(ticks) - monitored) / (width * iterations))
    chance = schedules.refresh_probability(np.arange(iterations), schedules.page_refresh(given.num_components))
    return {"evaluated": np.asarray(evaluated), "rate": float(np.mean(chance))}


if __name__ == "__main__":
    app.run(main, default_config="configs/halpern/lanes.py")
