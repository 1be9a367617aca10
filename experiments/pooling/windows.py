"""What a window passes back, and how far soft maxima stay below the maximum: random windows against the theorems.

A replicate is a stream of windows; a step draws `problem.windows` of each size. Metrics: `code [R, pool x code]`, how
many 2 x 2 windows of N(0, 1) elements had each pattern of elements with a gradient (bit k of the code is element k, row
by row), for the 16 posets, `max` and `avg`; and `gap/<kind> [R, size x sharpness]`, the largest distance below the
maximum, for `soft` and `lme` in the elements' unit and for `power` in nats, on windows of elements of all scales.
Results, `[size, sharpness]`: `bound/<kind>`, and `worst/<kind>`, the distance of the window that the theorem names.
Theorems: T7 (`research.pooling.posets`), T1 to T3 (`research.pooling.window_bounds`). Source: `dolores-cuenca:24`,
`stergiou:21`.
"""

from experiments.lib import app

POOLS = (*(f"poset {number}" for number in range(16)), "max", "avg")
KINDS = ("soft", "lme", "power")


def patterns(x):
    """Codes of the elements with a gradient, of `[N, 2, 2, 1]` windows, as counts `[pool, 16]`."""
    import jax
    import jax.numpy as jnp

    from research.pooling.posets import poset_pool
    from research.pooling.windows import window_pool

    def counts(pool):
        gradient = jax.grad(lambda x: pool(x).sum())(x).reshape(-1, 4)
        code = jnp.sum((gradient != 0) << jnp.arange(4)[None], axis=1)
        return jnp.zeros(16, x.dtype).at[code].add(1)

    posets = [lambda x, number=number: poset_pool(x, number) for number in range(16)]
    others = [lambda x, kind=kind: window_pool(x, kind, 2) for kind in POOLS[16:]]
    return jnp.stack([counts(pool) for pool in (*posets, *others)])


def distances(kind, x, sharpness):
    """Below the maximum, of windows `[N, n]`, for every sharpness, `[N, sharpness]`.

    The sharpness is beta of SoftPool, 1 / tau of the log-mean-exponential, p of the power mean of exp(x), whose
    distance is that of the logarithms.
    """
    import jax.numpy as jnp

    from research.pooling.windows import window_pool

    largest = x.max(axis=1, keepdims=True)
    wide = jnp.broadcast_to(x[..., None], (*x.shape, len(sharpness)))  # a channel for every sharpness
    if kind == "power":  # relative to the largest element, so that no exponential overflows
        relative = jnp.exp(wide - largest[..., None])
        pooled = window_pool(relative, kind, x.shape[1], params={"p": sharpness, "eps": 0.0})
        return -jnp.log(pooled)[:, 0]
    params = {"beta": sharpness} if kind == "soft" else {"tau": 1 / sharpness}
    return largest - window_pool(wide, kind, x.shape[1], params=params)[:, 0]


def program(config, mesh):
    import jax
    import jax.numpy as jnp

    from experiments.lib import lanes
    from experiments.lib.program import number
    from research.core import prng

    asked, dtype = config.problem, number(config)
    sharpness = jnp.asarray(asked.sharpness, dtype)

    def advance(_, key, step):
        keys = jax.random.split(prng.per_step(key, step), 1 + 2 * len(asked.sizes))
        found = {"code": patterns(jax.random.normal(keys[0], (asked.windows, 2, 2, 1), dtype)).reshape(-1)}
        gaps = {kind: [] for kind in KINDS}
        for i, size in enumerate(asked.sizes):
            scale = 10 ** jax.random.uniform(keys[1 + 2 * i], (asked.windows, 1), dtype, -2, 1.5)
            x = scale * jax.random.normal(keys[2 + 2 * i], (asked.windows, size), dtype)
            for kind in KINDS:
                gaps[kind].append(distances(kind, x, sharpness).max(axis=0))
        return step + 1, found | {f"gap/{kind}": jnp.concatenate(one) for kind, one in gaps.items()}

    axes = {
        "pool": POOLS, "code": tuple(map(str, range(16))), "size": tuple(map(str, asked.sizes)),
        "sharpness": tuple(f"{value:g}" for value in asked.sharpness),
    }  # fmt: skip
    return lanes.program(
        config, mesh, draw=lambda key: key, start=lambda _: jnp.int32(0), advance=advance, axes=axes, in_turn=True
    )


def theory(config):
    """The bounds, and the distances of the windows that attain or approach them."""
    import jax.numpy as jnp
    import numpy as np

    from experiments.lib.program import number
    from research.pooling import window_bounds

    sizes, sharpness = config.problem.sizes, config.problem.sharpness
    found = {f"{name}/{kind}": np.empty((len(sizes), len(sharpness))) for name in ("bound", "worst") for kind in KINDS}
    for at in np.ndindex(len(sizes), len(sharpness)):
        n, sharp = sizes[at[0]], sharpness[at[1]]
        found["bound/soft"][at] = window_bounds.softpool_gap(sharp, n)
        found["bound/lme"][at] = window_bounds.log_mean_exp_gap(1 / sharp, n)
        found["bound/power"][at] = window_bounds.power_mean_gap(sharp, n)
        # T3 names its window; T1 and T2 are approached by one element far above the others.
        far = np.append(0, np.full(n - 1, -config.problem.far / sharp))
        for kind in KINDS:
            x = window_bounds.softpool_worst(sharp, n) if kind == "soft" else far
            x, sharps = (jnp.asarray(values, number(config)) for values in (x[None], [sharp]))
            found[f"worst/{kind}"][at] = distances(kind, x, sharps)[0, 0]
    return found


def main(config, run, mesh):
    from experiments.lib import driver
    from experiments.pooling import panels_windows

    driver.drive(program(config, mesh), config, run)
    if not run.results:
        run.results(**theory(config))
    run.look(panels_windows.quick_look)


if __name__ == "__main__":
    app.run(main, default_config="configs/pooling/windows.py")
