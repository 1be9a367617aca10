"""A quadratic program that is hard for first-order methods, as published: |F| against epochs.

Published form (`cai:24`, figure 1b): n = 200, start 1/n everywhere, the authors' steps. The method of `lee:21` (FEG) at
its proved step is added: L is about nine times L_F here, so no gain of variance reduction is predicted, and FEG keeps
up with Algorithm 1. F is not cocoercive, but each of its eigenvalues l has Re l = |l|^2, which is why Algorithm 1 works
at a step for which nothing is proved. G = 0, so that the natural residual of step 1 is |F|.
A replicate is a seed of the draws; metrics as in `experiments.halpern.contest`.
"""

from experiments.lib import app

#: Where the solution lies: start x = y = 1/n, solution x = (1, ..., n), y = -1/2.
DISTANCE = 1639.07


def program(config, mesh):
    import jax.numpy as jnp

    from experiments.halpern import contest, instances
    from experiments.lib.program import number
    from research.halpern import quadratics
    from research.halpern.inclusions import Problem

    dtype, n = number(config), config.problem.size
    full, sampled = config.run.stride, config.run.stride * 8

    def groups():
        inclusion, _ = quadratics.ouyang_xu(n, dtype)
        start = jnp.full(n, 1 / n, dtype)
        case = {"problem": Problem(inclusion, (start, start)), "epochs": jnp.asarray(config.problem.epochs, dtype)}
        return (contest.stacked([case]),)

    def entered(name, **fields):
        return lambda case: contest.enter(name, case["problem"], unsafe=True, **fields)

    rules = {
        "eg": entered("eg", step_size=0.5, stride=full),
        "eag": entered("eag", step_size=0.3, stride=full),
        "feg": entered("feg", stride=full),
        "vr_eg": entered("vr_eg", step_size=0.01, probability=1 / n, stride=sampled),
        "page": lambda case: contest.enter(
            "page", instances.distinct(case["problem"]), step_size=0.3, batch=int(n**0.5), stride=full, unsafe=True
        ),
        "alg2": entered("alg2", schedule="authors", resolvent_step=n**0.5, step_size=0.001),
    }
    chosen = {name: rules[name] for name in config.algo.methods}
    return contest.program(config, mesh, groups=groups, rules=chosen, cases=(f"quadratic {n}",))


def main(config, run, mesh):
    from experiments.halpern import panels_contest
    from experiments.lib import driver

    driver.drive(program(config, mesh), config, run)
    run.look(panels_contest.quick_look, "quadratic")


if __name__ == "__main__":
    app.run(main, default_config="configs/halpern/quadratic.py")
