"""Class A: Algorithm 1 against forward-backward steps and SVRG-AcFR, natural residual against epochs.

"synthetic": least squares with rows Q (s * eps), s_j = 1 / j, eps = +-1, Q orthogonal, targets X Q 1 + 0.1 N(0, 1), so
that L = sum_j 1 / j^2 = 1.625 for 50 columns and L_F is about 1; free, or with a box. "digits": logistic regression on
1,797 images, which is few. Without a G the residual is |F(u)|, with one it is at most |F(u) + g|.
A replicate is a seed of the draws, the data are those of the config's seed; metrics are those of
`experiments.halpern.contest`. Results (synthetic and free): `bound [P]` of the certified step, and `bound_epochs [P]`,
the expected epochs at which it holds.
Source: `cai:24` for Algorithm 1; the instance is our own.
"""

from experiments.lib import app


def program(config, mesh):
    import jax
    import jax.numpy as jnp

    from experiments.data import samples
    from experiments.halpern import contest
    from experiments.lib.program import number
    from research.core import prng
    from research.halpern import finite_sums, proxes
    from research.halpern.inclusions import Problem

    setting, dtype, stride = config.problem, number(config), config.run.stride

    def synthetic(key):
        n, d = setting.size, setting.columns
        turn = jax.random.orthogonal(prng.stream(key, "turn"), d, dtype=dtype)
        signs = jax.random.rademacher(prng.stream(key, "signs"), (n, d), dtype)
        scaled = turn / jnp.arange(1, d + 1, dtype=dtype)[None]
        features = jnp.matmul(signs, scaled.T, precision=jax.lax.Precision.HIGHEST)
        noise = setting.noise * jax.random.normal(prng.stream(key, "noise"), (n,), dtype)
        targets = jnp.matmul(features, turn.sum(axis=1), precision=jax.lax.Precision.HIGHEST) + noise
        box = proxes.Box(-setting.box * jnp.ones(d, dtype), setting.box * jnp.ones(d, dtype)) if setting.box else None
        return finite_sums.least_squares(features, targets, law="uniform", regulariser=box)

    def groups(*data):
        inclusion = synthetic(*data) if setting.source == "synthetic" else finite_sums.logistic(*data)
        start = jnp.zeros(inclusion.features.shape[1], dtype)
        return (
            contest.stacked([{"problem": Problem(inclusion, start), "epochs": jnp.asarray(setting.epochs, dtype)}]),
        )

    def full(name, share):
        """A step in units of 1 / L_F; budgets are multiples of `run.full_stride`."""
        return lambda case: contest.enter(
            name, case["problem"], step_size=share / case["problem"].inclusion.lipschitz_full,
            stride=config.run.full_stride,
        )  # fmt: skip

    def sampled(name, share, stride):
        return lambda case: contest.enter(
            name, case["problem"], step_size=share / case["problem"].inclusion.lipschitz, stride=stride,
            unsafe=share > 0.5,
        )  # fmt: skip

    rules = {
        "gd": full("gd", 1.0), "halpern": full("halpern", 1.0), "halpern_long": full("halpern", 1.9),
        "page_half": sampled("page", 0.5, stride), "page_one": sampled("page", 1.0, stride),
        "page_two": sampled("page", 2.0, stride), "svrg": sampled("svrg", 0.5, max(1, stride // 8)),
    }  # fmt: skip
    data = lambda: (prng.root_key(config.seed),)  # noqa: E731  An argument: a constant would be folded, row by row.
    shape = jax.eval_shape(data)
    if setting.source != "synthetic":
        rows, columns = samples.SHAPES[setting.source]
        data = lambda: tuple(jnp.asarray(part, dtype) for part in samples.load(setting.source))  # noqa: E731
        shape = (jax.ShapeDtypeStruct((rows, columns), dtype), jax.ShapeDtypeStruct((rows,), dtype))
    chosen = {name: rules[name] for name in config.algo.methods}
    return contest.program(
        config, mesh, groups=groups, rules=chosen, cases=(setting.source,), data=data, data_shape=shape
    )


def main(config, run, mesh):
    import jax

    from experiments.halpern import panels_least_squares
    from experiments.lib import driver

    (case,), _ = driver.drive(program(config, mesh), config, run)
    if not run.results and config.problem.source == "synthetic" and not config.problem.box:
        inclusion = jax.tree.map(lambda leaf: leaf[0], case["problem"].inclusion)
        run.results(**bound(inclusion, config.problem.epochs[-1]))
    run.look(panels_least_squares.quick_look)


def bound(inclusion, epochs):
    """`bounds.page_residual` at step 0.5 / L, by expected epochs."""
    import numpy as np

    from research.halpern import bounds, schedules

    features, targets = (np.asarray(part, np.float64) for part in (inclusion.features, inclusion.targets))
    n, lipschitz = len(features), float(inclusion.lipschitz)
    distance = np.linalg.norm(np.linalg.solve(features.T @ features, features.T @ targets))
    k = np.arange(int(epochs * n**0.5))
    chance = np.asarray(schedules.refresh_probability(k, schedules.page_refresh(n)))
    spent = np.asarray(bounds.page_calls(chance, n, schedules.batch_size(n))) / n
    shown = np.unique(np.geomspace(1, max(2, np.searchsorted(spent, epochs)), 200).astype(int))
    limit = bounds.page_residual(shown.astype(np.float64), 0.5 / lipschitz, lipschitz, distance)
    return {"bound": np.asarray(limit), "bound_epochs": spent[shown - 1]}


if __name__ == "__main__":
    app.run(main, default_config="configs/halpern/least_squares.py")
