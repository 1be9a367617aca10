"""Logistic regression against the worst weights of the samples, on real data: natural residual against epochs.

The problem of `research.halpern.robust` on handwritten digits (1,797, pixels moved by `config.problem.shift`) or on
breast cancer biopsies (569). It is strongly monotone: methods without an anchor should win. L is nearly sqrt(n) L_F,
since a component's own weight is drawn with probability 1 / n: with certified steps variance reduction cannot win, and
`recommend` says so. "bold" methods step by sqrt(n) max |z| / nu + max |z|^2 / 4 instead of L, which nothing certifies.
A replicate is a seed of the draws; metrics are those of `experiments.halpern.contest`. Results: `saddle`, the saddle
value by a quasi-Newton method on the primal, its weights maximised out, `accuracy` of that model on its own data, and
`unshifted`, the saddle value without the shift; `value [R]`, the saddle function at the last point of `TOLD`;
`predicted [2]`, epochs to the residual `config.problem.accuracy` that `recommend` expects of VR-FoRB and of FoRB.
"""

from experiments.lib import app

#: The curve whose last point is compared with the saddle value.
TOLD = "vr_eg_bold"


def program(config, mesh):
    import jax
    import jax.numpy as jnp

    from experiments.data import samples
    from experiments.halpern import contest
    from experiments.lib.program import number
    from research.halpern import robust
    from research.halpern.inclusions import Problem

    setting, dtype = config.problem, number(config)

    def groups(features, labels):
        features = shifted(features, setting.shift)
        inclusion = robust.robust_logistic(
            features, labels, scale=setting.scale, penalty=setting.penalty, spread=setting.spread
        )
        problem = Problem(inclusion, robust.uniform_start(inclusion))
        return (contest.stacked([{"problem": problem, "epochs": jnp.asarray(setting.epochs, dtype)}]),)

    def bold(name):
        def enter(case):
            inclusion = case["problem"].inclusion
            n, longest = inclusion.num_components, jnp.max(jnp.linalg.norm(inclusion.signed, axis=1))
            constant = n**0.5 * longest / setting.scale + longest**2 / 4
            step = 0.9 * (2 / n) ** 0.5 / constant
            return contest.enter(name, case["problem"], step_size=step, stride=config.run.stride, unsafe=True)

        return enter

    def certified(name):
        fields = {"stride": config.run.stride} if name in ("vr_eg", "vr_forb") else {}
        return lambda case: contest.enter(name, case["problem"], **fields)

    rules = {
        name: bold(name.removesuffix("_bold")) if name.endswith("_bold") else certified(name)
        for name in config.algo.methods
    }
    rows, columns = samples.SHAPES[setting.source]
    return contest.program(
        config, mesh, groups=groups, rules=rules, cases=(setting.source,),
        data=lambda: tuple(jnp.asarray(part, dtype) for part in samples.load(setting.source)),
        data_shape=(jax.ShapeDtypeStruct((rows, columns), dtype), jax.ShapeDtypeStruct((rows,), dtype)),
    )  # fmt: skip


def shifted(features, shift):
    """All columns but the constant last one moved, in units of that one, and rows of mean length 1 again."""
    import jax.numpy as jnp

    moved = jnp.concatenate([features[:, :-1] + shift * features[:, -1:], features[:, -1:]], axis=1)
    return moved / jnp.mean(jnp.linalg.norm(moved, axis=1))


def main(config, run, mesh):
    from experiments.halpern import panels_robust
    from experiments.lib import driver

    ((case,), (_, (states,))) = driver.drive(program(config, mesh), config, run)
    if not run.results:
        found = independent(config.problem, config.problem.shift)
        found["unshifted"] = independent(config.problem, 0.0)["saddle"]
        run.results(**found, **ours(config, case["problem"], states[TOLD][1]))
    run.look(panels_robust.quick_look)


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


def independent(setting, shift):
    """The saddle value in float64 NumPy: L-BFGS on the primal, whose worst weights are a projection."""
    import numpy as np
    from scipy import optimize

    from experiments.data import samples

    data = samples.load(setting.source)
    signed, n = data.labels[:, None] * np.asarray(shifted(data.features, shift)), len(data.labels)

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
