"""Where variance reduction wins and where it loses: five problems, six methods, natural residual against epochs.

The constants decide: with draws by importance from the centred matrix, L / L_F is |A|_F / |A|_2, and `recommend` sees
Algorithm 2 win below sqrt(n) / 3.125. Ratios run from 1 (one large singular value) to 10 (uniform entries). Methods
take their certified steps, EAG the usual 0.9 / L_F; Algorithm 2 is practical: n inner draws, without restarts and with.
A replicate is a seed of the draws, on the same five matrices; metrics as in `experiments.halpern.contest`. Results by
case: `lipschitz`, `lipschitz_full`, `break_even`, and `predicted`, 1 where variance reduction is expected to win.
Source: `cai:24` for the methods; the selection is our own.
"""

from experiments.lib import app


def groups_of(config):
    """Cases by shape: what is stacked has one."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    from experiments.halpern import contest, instances
    from experiments.lib.program import number
    from research.core import prng
    from research.halpern import games, quadratics
    from research.halpern.inclusions import Problem

    dtype = number(config)
    key = prng.root_key(config.problem.matrix_seed)

    def normal(name, *shape):
        return jax.random.normal(prng.stream(key, name), shape, dtype)

    def matrix(name, n):
        if name == "rank5":
            return normal("left", n, 5) @ normal("right", 5, n) / np.sqrt(5)
        if name == "policeman":
            return games.policeman_burglar(jnp.abs(normal("worth", n)), weight="row")
        if name == "nemirovski":
            return games.nemirovski(n, kind=2, dtype=dtype)
        return jax.random.uniform(prng.stream(key, "entries"), (n, n), dtype, -1, 1)

    def case(setting):
        n = setting.size
        if setting.name == "bilinear":
            inclusion = quadratics.bilinear(prng.stream(key, "bilinear"), 1 / jnp.arange(1, n + 1, dtype=dtype))
            start = tuple(normal(f"start {player}", n) / np.sqrt(n) for player in "xy")
        else:
            inclusion = games.matrix_game(matrix(setting.name, n))
            start = games.uniform_start(inclusion)
        scale = n**0.5 / inclusion.lipschitz
        return {
            "problem": Problem(inclusion, start),
            "epochs": jnp.asarray(config.problem.shares, dtype) * setting.epochs,
            "plain": setting.plain * scale, "scale": setting.kappa * scale, "inner": jnp.int32(setting.inner * n),
            "restart": jnp.asarray(setting.restart, dtype),
        }  # fmt: skip

    shapes = {}
    for setting in (instances.Case(*row) for row in config.problem.cases):
        shapes.setdefault((setting.name == "bilinear", setting.size), []).append(setting)
    return [tuple(settings) for settings in shapes.values()], lambda settings: contest.stacked(
        list(map(case, settings))
    )


def program(config, mesh):
    from experiments.halpern import contest

    shapes, build = groups_of(config)
    smallest = min(setting.size for group in shapes for setting in group)

    def entered(name, **fields):
        return lambda case: contest.enter(name, case["problem"], **fields)

    rules = {
        "eg": entered("eg"),
        "eag": lambda case: contest.enter(
            "eag", case["problem"], step_size=0.9 / case["problem"].inclusion.lipschitz_full, unsafe=True
        ),
        "forb": entered("forb", stride=2),
        "vr_eg": entered("vr_eg", stride=max(1, smallest // 4)),
        "alg2": lambda case: contest.enter("alg2", case["problem"], resolvent_step=case["plain"]),
        "restarted": lambda case: contest.enter(
            "restarted", case["problem"], resolvent_step=case["scale"], inner_steps=case["inner"],
            restart=case["restart"],
        ),
    }  # fmt: skip
    chosen = {name: rules[name] for name in config.algo.methods}
    labels = tuple(f"{setting.name} {setting.size}" for group in shapes for setting in group)
    return contest.program(config, mesh, groups=lambda: tuple(map(build, shapes)), rules=chosen, cases=labels)


def main(config, run, mesh):
    from experiments.halpern import panels_contest
    from experiments.lib import driver

    groups, _ = driver.drive(program(config, mesh), config, run)
    if not run.results:
        run.results(**predictions(groups))
    run.look(panels_contest.quick_look, "games")


def predictions(groups):
    """Constants and predicted winners of all cases, in the order of the runs' axis."""
    import jax
    import numpy as np

    from research.halpern import recommend

    found = []
    for cases in groups:
        for place in range(len(cases["epochs"])):
            inclusion = jax.tree.map(lambda leaf, at=place: leaf[at], cases["problem"]).inclusion
            advice = recommend.recommend(inclusion)
            found.append((advice.lipschitz, advice.lipschitz_full, advice.break_even, advice.reduces_variance))
    names = ("lipschitz", "lipschitz_full", "break_even", "predicted")
    return {name: np.asarray(values, np.float64) for name, values in zip(names, zip(*found, strict=True), strict=True)}


if __name__ == "__main__":
    app.run(main, default_config="configs/halpern/games.py")
