"""The philosopher by subset dynamic programming: time per set and time of day, and where its value lies.

A run is one size n; a step solves every instance once, the first warms up. Metrics, `[R, instance]`: `philosopher`.
`timing.jsonl` has the seconds of every step; its rows beyond `run.num_steps` are those of the NumPy bit-view dynamic
program on the first `problem.peer_times` times of the first instance, for `PATIENCE` seconds and three times at least,
and the last one is what moving a GiB through the memory takes.
Results, `[instance]`: `dual` and `primal` bound LP-OnOpt; `rounding` and `bid_price`, means over `run.runs` simulated
runs of the rescaled closed form and of the bid prices, and `rounding_error`, `bid_price_error`, their standard errors.
Source: `braverman:24` for the philosopher as the benchmark.
"""

from experiments.lib import app

PATIENCE = 1.0


def program(config, mesh):
    import jax
    import jax.numpy as jnp

    from experiments.lib import lanes
    from experiments.lib.program import number
    from experiments.matching import families
    from research.matching import philosopher

    setting = config.problem

    def draw(key):
        keys = lanes.run_keys(key, 0, setting.instances)
        drawn = jax.vmap(lambda one: families.draw(one, (setting.case,), number(config)))(keys)
        return jax.tree.map(lambda leaf: leaf[:, 0], drawn)

    def advance(_, drawn, step):
        values = jax.lax.map(lambda one: philosopher.solve(one, validate=False).value, drawn)
        return step + 1, {"philosopher": values}

    return lanes.program(config, mesh, draw=draw, start=lambda _: jnp.int32(0), advance=advance, axes={})


def main(config, run, mesh):
    import jax

    from experiments.lib import driver
    from experiments.matching import panels_philosopher

    (_, drawn), _ = driver.drive(program(config, mesh), config, run)
    instances = jax.tree.map(lambda leaf: leaf[0], drawn)
    clocks(config, run, jax.tree.map(lambda leaf: leaf[0], instances))
    run.results(**benchmarks(config, instances))
    run.look(panels_philosopher.quick_look)


def clocks(config, run, instance):
    """Seconds of the NumPy peer and of the memory, on this machine and now."""
    import time

    import numpy as np

    from pallas_kernels import _bench
    from pallas_kernels.subset_dp import peers

    times = config.problem.peer_times
    weights, arrivals = np.asarray(instance.weights)[:, :times], np.asarray(instance.arrivals)[:times]
    first, step = time.perf_counter(), config.run.num_steps
    while time.perf_counter() - first < PATIENCE or step < config.run.num_steps + 3:
        began, step = time.perf_counter(), step + 1
        peers.bit_view_values(weights, arrivals)
        run.time(step, seconds=time.perf_counter() - began)
    run.time(step + 1, seconds=2**30 / _bench.memory_rate())


def benchmarks(config, instances):
    """What encloses the philosopher: the relaxation above, a rounding and a policy below; by name, `[instance]`."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    from experiments.lib import lanes
    from research.core import prng
    from research.matching import policies, relaxation, rounding, simulation

    keys = lanes.run_keys(prng.stream(prng.root_key(config.seed), "simulated"), 0, config.run.runs)

    def mean(name, values):
        return {name: jnp.mean(values), f"{name}_error": jnp.std(values) / np.sqrt(config.run.runs)}

    @jax.jit
    def of(one):
        found = relaxation.solve(one, tolerance=1e-4)
        rounded = rounding.from_allocation(one, found.x, validate=False)
        policy = policies.bid_price(one, found.values)
        play = jax.vmap(lambda key: policies.run(policy, policies.Params(), key, validate=False).value)
        return (
            {"dual": found.dual, "primal": found.primal}
            | mean("rounding", simulation.simulate(rounded, keys, validate=False).value)
            | mean("bid_price", play(keys))
        )

    return jax.device_get(jax.lax.map(of, instances))


if __name__ == "__main__":
    app.run(main, default_config="configs/matching/philosopher.py")
