"""New York trips as typed arrivals: drivers wait in zones, riders of the morning come by quarter of an hour and zone.

An arrival's type is its pickup zone; P[t, j] is the zone's share of the trips of the quarter that t falls into, times
the chance that anybody comes, min(1, load n / T). Drivers wait in zones drawn from the first quarter's trips, and serve
a rider at distance d (streets run along two axes) for max(0, 1 - d / reach). A replicate is a draw of the drivers, a
step is a load. Metrics, `[R]`: `value/<contender>` (exact for up to 12 drivers, otherwise means over `run.runs` runs),
and `primal` and `dual`, the certified bounds on LP-OnOpt. Results: `position [J, 2]` of the zones in km, and `pickups
[J]` of the quarters shown, in trips of the year.
Source of the data: `experiments.data.nyc`; of the algorithms: `braverman:24`.
"""

from experiments.lib import app


def program(config, mesh):
    import jax
    import jax.numpy as jnp

    from experiments.data import nyc
    from experiments.lib import lanes
    from experiments.lib.program import number
    from experiments.matching import contenders
    from research.core import prng
    from research.matching import exact_law, problems

    setting, dtype = config.problem, number(config)
    n, steps = setting.drivers, setting.steps
    loads = jnp.asarray(setting.loads, dtype)

    def common():
        """Of each time the zones' shares `[T, J]`, and what a driver in one zone earns in another `[J, J]`."""
        data = nyc.load(setting.source)
        quarters = setting.first_quarter + jnp.arange(steps) * setting.quarters // steps
        counts = jnp.asarray(data.counts[setting.weekday], dtype)[quarters]
        away = jnp.abs(data.positions[:, None] - data.positions[None]).sum(axis=-1)
        worth = jnp.maximum(0, 1 - away / setting.reach).astype(dtype)
        return counts / counts.sum(axis=1, keepdims=True), worth

    def advance(data, key, step):
        shares, worth = data
        zones = jax.random.categorical(prng.stream(key, "drivers"), jnp.log(shares[0]), shape=(n,))
        comes = jnp.minimum(1, loads[step] * n / steps)
        problem = problems.Problem(worth[zones][:, None], shares * comes)
        found = contenders.relaxed(problem, config.algo.tolerance)
        if n <= exact_law.MAX_NODES:
            values = contenders.exact_values(problem, found)
        else:
            values = contenders.simulated_values(problem, found, lanes.run_keys(key, 0, config.run.runs))
        metrics = {f"value/{name}": value for name, value in values.items()}
        return step + 1, metrics | {"primal": found.primal, "dual": found.dual}

    shape = tuple(jax.ShapeDtypeStruct(size, dtype) for size in ((steps, nyc.NUM_ZONES), (nyc.NUM_ZONES,) * 2))
    return lanes.program(
        config, mesh, draw=lambda key: key, start=lambda _: jnp.int32(0), advance=advance, common=common,
        common_shape=shape, axes={"load": tuple(f"{load:g}" for load in setting.loads)},
    )  # fmt: skip


def main(config, run, mesh):
    from experiments.data import nyc
    from experiments.lib import driver
    from experiments.matching import panels_nyc

    driver.drive(program(config, mesh), config, run)
    if not run.results:
        data, first = nyc.load(config.problem.source), config.problem.first_quarter
        shown = data.counts[config.problem.weekday, first : first + config.problem.quarters]
        run.results(position=data.positions, pickups=shown.sum(axis=0))
    run.look(panels_nyc.quick_look)


if __name__ == "__main__":
    app.run(main, default_config="configs/matching/nyc.py")
