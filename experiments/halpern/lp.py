"""Linear programs by restarted Halpern PDHG: relative KKT residual against iterations, with and without its parts.

A step is `config.run.stride` iterations of every variant; a replicate is an instance. A program that met the tolerance
stands still. Metrics `[R]`: `residual/<variant>`, `iterations/<variant>` (so far, or until it stopped).
Results: `objective [R]`, c'x of the first variant; `highs [K]`, the first instances' by HiGHS; for LP-OnOpt also
`certified [2, K]`, bounds by the matching family's own solver. `timing.jsonl` goes on with seconds per call, by
`axes["clock"]`: batches of ours, HiGHS one by one, and MPAX where it is installed, of which `mpax_iterations` and
`mpax_residual` tell how it ended.
Source: `lu:24`; instances of `research.halpern.linear_programs` and of `experiments.halpern.matching_lp`.
"""

from experiments.lib import app

#: Name of a variant -> fields of its params.
VARIANTS = {"reflected": {}, "plain": {"reflected": False}, "unrestarted": {"restarts": False}}


def program(config, mesh):
    import jax

    from experiments.halpern import programs
    from experiments.lib import mesh as mesh_lib
    from experiments.lib.program import Program, number
    from research.core import prng, sharding
    from research.halpern import pdhg

    kind, size, dtype = config.problem.kind, tuple(config.problem.size), number(config)
    params = {
        name: pdhg.Params(1, stride=config.run.stride, tolerance=config.algo.tolerance, **VARIANTS[name])
        for name in config.algo.variants
    }

    def replicates():
        keys = prng.replicate_keys(prng.root_key(config.seed), config.run.replicates)
        drawn = jax.vmap(lambda key: programs.draw(kind, size, key, dtype))(keys)
        return drawn, {name: jax.vmap(lambda one, p=p: pdhg.init(one, p))(drawn) for name, p in params.items()}

    def advance(drawn, states):
        moved = {name: pdhg.step(drawn, p, states[name])[0] for name, p in params.items()}
        metrics = {f"residual/{name}": state.ledger.residual for name, state in moved.items()}
        return moved, metrics | {f"iterations/{name}": state.total for name, state in moved.items()}

    abstract = sharding.split_replicates(jax.eval_shape(replicates), mesh)

    def init():
        return jax.jit(replicates, out_shardings=jax.tree.map(lambda leaf: leaf.sharding, abstract))()

    lanes = mesh_lib.over_replicates(mesh, advance)
    return Program(init, jax.jit(lanes), abstract, ("seed",), {"clock": tuple(_clocks(config))})


def main(config, run, mesh):
    import jax
    import numpy as np

    from experiments.halpern import panels_lp
    from experiments.lib import driver
    from research.halpern import linear_programs

    drawn, states = driver.drive(program(config, mesh), config, run)
    last = states[config.algo.variants[0]].candidate
    one = [jax.tree.map(lambda leaf, k=k: leaf[k], drawn.inclusion) for k in range(config.problem.compared)]
    objective = jax.vmap(lambda p, x, y: linear_programs.kkt(p, (x, y)).objective)(drawn.inclusion, last.x, last.y)
    run.results(objective=np.asarray(objective), highs=[linear_programs.highs(each).objective for each in one])
    if config.problem.kind == "online" and config.problem.compared:
        run.results(certified=_certified(config))
    _measure(config, run)
    run.look(panels_lp.quick_look)


def _certified(config):
    import numpy as np

    from experiments.halpern import matching_lp
    from experiments.lib.program import number
    from research.core import prng

    keys = prng.replicate_keys(prng.root_key(config.seed), config.problem.compared)
    size, dtype = tuple(config.problem.size), number(config)
    found = [matching_lp.bounds(matching_lp.draw(key, size, dtype)) for key in keys]
    return np.array([[one.primal for one in found], [one.dual for one in found]])


def _clocks(config):
    """What is timed, `name, batch`, in order."""
    timed = config.timing
    ours = [f"PDHG, {count}" for count in timed.batches]
    return ours + [f"{peer}, {count}" for peer, counts in timed.peers.items() for count in counts]


def _measure(config, run):
    """Seconds of the fastest of `config.timing.repeats` calls, compiled before; 0 for a peer that is not installed."""
    import time

    import jax

    from experiments.halpern import peers, programs
    from experiments.lib.program import number
    from research.core import prng
    from research.halpern import lanes, linear_programs, pdhg

    setting, step, mpax = config.problem, config.run.num_steps, {"mpax_iterations": [], "mpax_residual": []}
    params = pdhg.Params(config.timing.limit, tolerance=config.algo.tolerance)
    for clock in _clocks(config):
        name, count = clock.rsplit(", ", 1)
        keys = prng.replicate_keys(prng.root_key(config.seed), int(count))
        batch = programs.batch(setting.kind, tuple(setting.size), keys, number(config))
        each = [jax.tree.map(lambda leaf, k=k: leaf[k], batch.inclusion) for k in range(int(count))]
        if name == "PDHG":
            axes = lanes.axes(batch)
            call = lambda batch=batch, axes=axes: pdhg.solve(batch, params, problem_axes=axes)  # noqa: E731
        elif name in peers.HIGHS:
            call = peers.highs(each, name)
        elif peers.installed():
            call = peers.mpax(each, config.algo.tolerance)
            found = call()
            residuals = [linear_programs.kkt(p, z).residual for p, *z in zip(each, found.x, found.y, strict=True)]
            mpax["mpax_iterations"].append(float(jax.numpy.median(found.iterations)))
            mpax["mpax_residual"].append(float(max(residuals)))
        else:
            call = None
        seconds = []
        for _ in range(1 + config.timing.repeats if call else 0):
            start = time.perf_counter()
            jax.block_until_ready(call())
            seconds.append(time.perf_counter() - start)
        step += 1
        run.time(step, seconds=min(seconds[1:], default=0.0))
    run.results(**mpax)


if __name__ == "__main__":
    app.run(main, default_config="configs/halpern/lp.py")
