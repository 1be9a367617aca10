"""Algorithm 1 with its components in strata, and the strata over devices: does the answer change, and what is sent?

The free least squares of `experiments.halpern.lanes`, drawn uniformly within S strata of rows, S = `problem.strata` in
turn; with one stratum all draws are independent. A step is a stride of iterations from where that S stopped, a
replicate a seed of the draws. Metrics, `[R, stratum]`: `residual`, |F(u)|, and `epochs` that the method spent.
Results, from processes of their own whose CPU has `run.devices` devices, all with the largest S: `devices [n]`;
`distance [n, P]`, |u - u'| / |u'| against one device after each of P strides; `calls [n]`; `sums [n]`, all-reduce
operations in the compiled iteration of a batch; `floats [n]`, numbers that such a sum adds up; `rows [n]`, on a device.
Source: none, it is how the data is laid out (`research.halpern.sharded`).
"""

from experiments.lib import app


def _params(config):
    from research.halpern import page

    return page.Params(num_steps=1, stride=config.run.stride, batch=config.problem.batch)


def program(config, mesh):
    import jax
    import jax.numpy as jnp

    from experiments.halpern import lanes as instances
    from experiments.lib import lanes
    from research.core import loops, prng
    from research.halpern import page, sharded
    from research.halpern.inclusions import Problem

    strata, params, n = config.problem.strata, _params(config), config.problem.size

    def problems():
        whole = instances.instance(config)
        return tuple(Problem(sharded.shard(whole.inclusion, None, count), whole.start) for count in strata)

    def start(problems, key):
        return tuple(page.init(problem, params, prng.stream(key, "draws")) for problem in problems)

    def advance(problems, _, states):
        ran = [page.step(problem, params, state) for problem, state in zip(problems, states, strict=True)]
        residual = jnp.stack([info.residual for _, info in ran])
        calls = jnp.stack([loops.approximate(info.calls, residual.dtype) for _, info in ran])
        return tuple(state for state, _ in ran), {"residual": residual, "epochs": calls / n}

    return lanes.program(
        config, mesh, draw=lambda key: key, start=start, start_from_common=True, advance=advance,
        common=jax.jit(problems), axes={"stratum": tuple(str(count) for count in strata)}, in_turn=True,
    )  # fmt: skip


def on_devices(config, mesh):
    """Points `[P, D]` after every stride, calls, and what the compiled batch iteration sends, over the axis `data`."""
    import re

    import jax
    import numpy as np

    from experiments.halpern import lanes
    from research.core import loops, prng
    from research.halpern import page, sharded
    from research.halpern.inclusions import Problem

    whole, params = lanes.instance(config), _params(config)
    inclusion = sharded.shard(whole.inclusion, mesh, max(config.problem.strata))
    problem = Problem(inclusion, whole.start)
    step = jax.jit(lambda state: page.step(problem, params, state)[0])
    state, points = page.init(problem, params, prng.root_key(config.seed)), []
    for _ in range(config.run.num_steps):
        state = step(state)
        points.append(np.asarray(state.u))
    draws = inclusion.sample(prng.root_key(0), (config.problem.batch,))
    text = jax.jit(lambda *args: inclusion.difference(*args)).lower(draws, whole.start, whole.start).compile().as_text()
    sent = re.findall(r"= f\d+\[(\d+)\]\S* all-reduce(?:-start)?\(", text)
    (rows,) = {shard.data.shape[0] for shard in inclusion.model.rows.addressable_shards}
    return {
        "points": np.stack(points), "calls": loops.total(state.ledger.calls), "sums": len(sent),
        "floats": sum(map(int, sent)), "rows": rows,
    }  # fmt: skip


def spread(config):
    """Results of the module's docstring."""
    import numpy as np

    from experiments.lib import child

    def on(count):
        axes = {"rep": 1, "data": int(count)}
        return child.on_cpu_devices("experiments.halpern.sharding", "on_devices", config, axes)

    by_count = {count: on(count) for count in {1, *config.run.devices}}
    found, alone = [by_count[count] for count in config.run.devices], by_count[1]["points"]
    size = np.linalg.norm(alone, axis=1)
    out = {name: np.array([each[name] for each in found]) for name in ("calls", "sums", "floats", "rows")}
    distance = [np.linalg.norm(each["points"] - alone, axis=1) / size for each in found]
    return out | {"distance": np.stack(distance), "devices": np.array(config.run.devices)}


def main(config, run, mesh):
    from experiments.halpern import panels_sharding
    from experiments.lib import driver

    driver.drive(program(config, mesh), config, run)
    if not run.results:
        run.results(**spread(config))
    run.look(panels_sharding.quick_look)


if __name__ == "__main__":
    app.run(main, default_config="configs/halpern/sharding.py")
