"""LP-OnOpt by dualscan: certified gap against wall time, beside HiGHS's methods and MPAX on the same instances.

A step solves every instance from nothing to one tolerance; steps go round the tolerances, the first lap warms up. The
instances of a replicate are solved one after the other, the replicates together: one replicate of many instances shows
the time of one, many replicates of one instance that of a batch. `timing.jsonl` has the seconds of every step; its rows
beyond `run.num_steps` are the peers' seconds (inside the solver, compiled before) on the first instances, peer by peer.
Metrics, `[R, instance]`: `gap`, `primal`, `dual`, and `rounds` of ten gradient iterations.
Results: `certified [K]`, the gap of the first instances taken again in float64 on the host, and `highs [K]`, their LP.
Source: `braverman:24` for the LP; HiGHS: `huangfu:18`. MPAX is left out, with one line, where it is not installed.
"""

from experiments.lib import app


def program(config, mesh):
    import jax
    import jax.numpy as jnp

    from experiments.lib import lanes
    from experiments.lib.program import number
    from experiments.matching import families
    from experiments.matching import peers as peers_lib
    from research.matching import relaxation

    setting, tolerances = config.problem, jnp.asarray(config.algo.tolerances, number(config))

    def draw(key):
        keys = lanes.run_keys(key, 0, setting.instances)
        return jax.vmap(lambda one: families.draw(one, (setting.case,), number(config)))(keys)

    def advance(_, drawn, step):
        tolerance = tolerances[step % len(tolerances)]

        def solved(one):
            found = relaxation.solve(jax.tree.map(lambda leaf: leaf[0], one), tolerance=tolerance)
            return {"gap": found.gap, "primal": found.primal, "dual": found.dual, "rounds": found.rounds}

        return step + 1, jax.lax.map(solved, drawn)

    axes = {"tolerance": tuple(f"{t:g}" for t in config.algo.tolerances), "peer": peers_lib.installed(setting.peers)}
    return lanes.program(config, mesh, draw=draw, start=lambda _: jnp.int32(0), advance=advance, axes=axes)


def main(config, run, mesh):
    from experiments.lib import driver
    from experiments.matching import panels_lp

    (_, drawn), _ = driver.drive(program(config, mesh), config, run)
    peers(config, run, drawn)
    run.look(panels_lp.quick_look)


def peers(config, run, drawn):
    """Other solvers on the first instances, and our certificates there in float64."""
    import jax
    import numpy as np

    from experiments.matching import peers as peers_lib
    from research.matching import certificates, oracles, relaxation

    flat = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[3:]), drawn)
    instances = [jax.tree.map(lambda leaf, k=k: leaf[k], flat) for k in range(config.problem.compared)]
    optimum, step = np.zeros(len(instances)), config.run.num_steps
    names = peers_lib.installed(config.problem.peers)
    for name in set(config.problem.peers) - set(names):
        run.say(f'{name} left out: mpax is not installed (pip install -e ".[bench]")')
    for name in names:
        for k, instance in enumerate(instances):
            solve = peers_lib.solver(name, oracles.state_form(instance))
            solved = solve()
            if name == peers_lib.MPAX:
                solved = solve()  # the first call compiled it
            elif not peers_lib.HIGHS[name][1]:
                optimum[k] = solved.value
            step += 1
            run.time(step, seconds=solved.seconds)
    ours = [relaxation.solve(one, tolerance=min(config.algo.tolerances)) for one in instances]
    checked = [certificates.certificate(p, s.x, s.multipliers) for p, s in zip(instances, ours, strict=True)]
    run.results(certified=[one.gap for one in checked], highs=optimum)


if __name__ == "__main__":
    app.run(main, default_config="configs/matching/lp.py")
