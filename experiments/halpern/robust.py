"""Logistic regression against the worst weights of the samples, on real data: natural residual against epochs.

The problem of `research.halpern.robust` on handwritten digits (1,797) or breast cancer biopsies (569). It is strongly
monotone: `recommend` expects methods without an anchor to win, and with variance reduction where n allows it.
A replicate is a seed of the draws; metrics are those of `experiments.halpern.contest`. Results: `saddle`, the saddle
value by a quasi-Newton method on the primal, its weights maximised out, and `accuracy` of that model on its own data;
`value [R]`, the saddle function at the last point of VR-FoRB; `predicted [2]`, epochs to the residual
`config.problem.accuracy` that `recommend` expects of VR-FoRB and of FoRB.
"""

from experiments.lib import app


def program(config, mesh):
    import jax
    import jax.numpy as jnp

    from experiments.data import samples
    from experiments.halpern import contest
    from research.halpern import robust
    from research.halpern.inclusions import Problem

    setting, dtype = config.problem, contest.number(config)

    def groups(features, labels):
        inclusion = robust.robust_logistic(
            features, labels, scale=setting.scale, penalty=setting.penalty, spread=setting.spread
        )
        problem = Problem(inclusion, robust.uniform_start(inclusion))
        return (contest.stacked([{"problem": problem, "epochs": jnp.asarray(setting.epochs, dtype)}]),)

    def usual(case):
        return contest.enter("eag", case["problem"], step_size=0.9 / case["problem"].inclusion.lipschitz_full,
                             unsafe=True)  # fmt: skip

    def entered(name):
        fields = {"stride": config.run.stride} if name in ("vr_eg", "vr_forb") else {}
        return lambda case: contest.enter(name, case["problem"], **fields)

    rules = {name: usual if name == "eag" else entered(name) for name in config.algo.methods}
    rows, columns = samples.SHAPES[setting.source]
    return contest.program(
        config, mesh, groups=groups, rules=rules, cases=(setting.source,),
        data=lambda: tuple(jnp.asarray(part, dtype) for part in samples.load(setting.source)),
        data_shape=(jax.ShapeDtypeStruct((rows, columns), dtype), jax.ShapeDtypeStruct((rows,), dtype)),
    )  # fmt: skip


def main(config, run, mesh):
    from experiments.halpern import panels_robust
    from experiments.lib import driver

    ((case,), (_, (states,))) = driver.drive(program(config, mesh), config, run)
    if not run.results:
        run.results(**independent(config.problem), **ours(config, case["problem"], states["vr_forb"][1]))
    panels_robust.quick_look(run)


def ours(config, problem, points):
    """What is found and what was expected."""
    import jax

    from research.halpern import recommend, robust

    inclusion = jax.tree.map(lambda leaf: leaf[0], problem.inclusion)
    last = jax.tree.map(lambda leaf: leaf[:, 0], points)
    expected = recommend.recommend(inclusion, residual=config.problem.accuracy)
    calls = expected.reduced_calls, expected.full_calls
    return {
        "value": jax.vmap(lambda point: robust.robust_objective(inclusion, point))(last),
        "predicted": [float(count) / inclusion.num_components for count in calls],
    }


def independent(setting):
    """The saddle value in float64 NumPy: L-BFGS on the primal, whose worst weights are a projection."""
    import numpy as np
    from scipy import optimize

    from experiments.data import samples

    data = samples.load(setting.source)
    signed, n = data.labels[:, None] * data.features, len(data.labels)

    def worst(losses):
        """argmax over the simplex of q'losses - (spread n / 2) |q - 1/n|^2."""
        wanted = 1 / n + losses / (setting.spread * n)
        down = np.sort(wanted)[::-1]
        excess = (np.cumsum(down) - 1) / np.arange(1, n + 1)
        return np.maximum(0, wanted - excess[np.nonzero(down > excess)[0][-1]])

    def primal(w):
        margins = signed @ w
        losses = np.logaddexp(0, -margins)
        q = worst(losses)
        value = q @ losses - setting.spread * n / 2 * np.sum((q - 1 / n) ** 2) + setting.penalty / 2 * w @ w
        return value, setting.penalty * w - (q * np.exp(-np.logaddexp(0, margins))) @ signed

    options = {"maxiter": 5000, "ftol": 0.0, "gtol": 1e-11, "maxcor": 30}
    found = optimize.minimize(primal, np.zeros(signed.shape[1]), jac=True, method="L-BFGS-B", options=options)
    return {"saddle": found.fun, "accuracy": np.mean(signed @ found.x > 0)}


if __name__ == "__main__":
    app.run(main, default_config="configs/halpern/robust.py")
