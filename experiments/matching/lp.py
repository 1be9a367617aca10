"""LP-OnOpt by dualscan: certified gap against wall time, beside the fastest of HiGHS's methods on the same instances.

A step solves every instance from nothing to one tolerance; steps go round the tolerances, the first lap warms up. The
instances of a replicate are solved one after the other, the replicates together: one replicate of many instances shows
the time of one, many replicates of one instance that of a batch. `timing.jsonl` has the seconds of every step; its rows
beyond `run.num_steps` are HiGHS's seconds (inside the solver) on the first instances, method by method (`PEERS`).
Metrics, `[R, instance]`: `gap`, `primal`, `dual`, and `rounds` of ten gradient iterations.
Results: `certified [K]`, the gap of the first instances taken again in float64 on the host, and `highs [K]`, their LP.
Source: `braverman:24` for the LP; HiGHS: `huangfu:18`.
"""

from experiments.lib import app

#: HiGHS, state form: method, and options.
PEERS = {
    "simplex": ("highs-ds", {}),
    "interior point": ("highs-ipm", {}),
    "interior point, 1e-4": ("highs-ipm", {"ipm_optimality_tolerance": 1e-4}),
}


def program(config, mesh):
    import jax
    import jax.numpy as jnp

    from experiments.matching import families, lanes
    from research.matching import relaxation

    setting, tolerances = config.problem, jnp.asarray(config.algo.tolerances, lanes.number(config))

    def draw(key):
        keys = lanes.run_keys(key, 0, setting.instances)
        return jax.vmap(lambda one: families.draw(one, (setting.case,), lanes.number(config)))(keys)

    def advance(_, drawn, step):
        tolerance = tolerances[step % len(tolerances)]

        def solved(one):
            found = relaxation.solve(jax.tree.map(lambda leaf: leaf[0], one), tolerance=tolerance)
            return {"gap": found.gap, "primal": found.primal, "dual": found.dual, "rounds": found.rounds}

        return step + 1, jax.lax.map(solved, drawn)

    axes = {"tolerance": tuple(f"{t:g}" for t in config.algo.tolerances), "peer": tuple(setting.peers)}
    return lanes.program(config, mesh, draw=draw, start=lambda _: jnp.int32(0), advance=advance, axes=axes)


def main(config, run, mesh):
    from experiments.lib import driver
    from experiments.matching import panels_lp

    (_, drawn), _ = driver.drive(program(config, mesh), config, run)
    peers(config, run, drawn)
    panels_lp.quick_look(run)


def peers(config, run, drawn):
    """HiGHS on the first instances, and their certificates in float64."""
    import jax
    import numpy as np

    from research.matching import certificates, oracles, relaxation

    flat = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[3:]), drawn)
    instances = [jax.tree.map(lambda leaf, k=k: leaf[k], flat) for k in range(config.problem.compared)]
    optimum, step = np.zeros(len(instances)), config.run.num_steps
    for name in config.problem.peers:
        method, options = PEERS[name]
        for k, instance in enumerate(instances):
            solved = oracles.online_lp(instance, method=method, options=options)
            optimum[k] = solved.value if options == {} else optimum[k]
            step += 1
            run.time(step, seconds=solved.seconds)
    ours = [relaxation.solve(one, tolerance=min(config.algo.tolerances)) for one in instances]
    checked = [certificates.certificate(p, s.x, s.multipliers) for p, s in zip(instances, ours, strict=True)]
    run.results(certified=[one.gap for one in checked], highs=optimum)


if __name__ == "__main__":
    app.run(main, default_config="configs/matching/lp.py")
