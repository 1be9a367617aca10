"""Items one by one to agents, each of whom shall get her maximin share: measured ratios, random and adversarial.

Contests: (rule, agents, chores, equal values). A step is a number of items, a replicate a random sequence of as many,
values exponential draws to the power `problem.power`, normalised. Metrics: `load/<contest>` `[R, agent]`, what each
agent thinks of her bundle. Results: `share/<contest> [lengths, R, agent]`, her maximin share by dynamic programming;
`worst/<contest> [grid]`, the worst ratio over all sequences of 2, 3, ... items with values on a grid; and `game/goods`
and `game/chores` `[grid]`, the best that any rule can do there against the best adversary, two agents.
Source: `zhou:23` for the model and the published ratios; the rules are those of `research.matching.scheduling`.
"""

from experiments.lib import app

CONTESTS = {
    "two_goods": ("two_goods", 2, False, False),
    "two_chores": ("two_chores", 2, True, False),
    "chores": ("chores", 3, True, False),
    "list_goods": ("least_loaded", 3, False, True),
    "list_chores": ("least_loaded", 3, True, True),
}


def sequence(key, most, length, agents, equal, power):
    """Values `[most, agents]` of the items; those beyond `length` are worth nothing, each column sums to 1."""
    import jax
    import jax.numpy as jnp

    drawn = jax.random.exponential(key, (most, 1 if equal else agents)) ** power
    drawn = jnp.broadcast_to(drawn, (most, agents)) * (jnp.arange(most) < length)[:, None]
    return drawn / jnp.sum(drawn, axis=0, keepdims=True)


def program(config, mesh):
    import jax.numpy as jnp

    from experiments.lib import lanes
    from research.core import prng
    from research.matching import scheduling

    lengths = jnp.asarray(config.problem.lengths, jnp.int32)
    most = max(config.problem.lengths)

    def advance(_, key, step):
        metrics = {}
        for name, (rule, agents, chores, equal) in CONTESTS.items():
            drawn = prng.per_step(prng.stream(key, name), step)
            values = sequence(drawn, most, lengths[step], agents, equal, config.problem.power)
            problem = scheduling.Problem(values, chores)
            metrics[f"load/{name}"] = scheduling.run(problem, scheduling.Params(most, rule), validate=False).load
        return step + 1, metrics

    axes = {"length": tuple(map(str, config.problem.lengths)), "contest": tuple(CONTESTS)}
    return lanes.program(
        config, mesh, draw=lambda key: key, start=lambda _: jnp.int32(0), advance=advance, axes=axes
    )  # fmt: skip


def main(config, run, mesh):
    from experiments.lib import driver
    from experiments.matching import panels_scheduling

    (_, keys), _ = driver.drive(program(config, mesh), config, run)
    if not run.results:
        run.results(**maximin_shares(config, keys), **adversaries(config))
    run.look(panels_scheduling.quick_look)


def maximin_shares(config, keys):
    """Of every agent in every random sequence."""
    import jax
    import numpy as np

    from research.core import prng
    from research.matching import scheduling_oracles

    most, found = max(config.problem.lengths), {}
    for name, (_, agents, chores, equal) in CONTESTS.items():

        def drawn(key, step, length, name=name, agents=agents, equal=equal):
            key = prng.per_step(prng.stream(key, name), step)
            return sequence(key, most, length, agents, equal, config.problem.power)

        made, shares = jax.jit(jax.vmap(drawn, (0, None, None))), []
        for step, length in enumerate(config.problem.lengths):
            values = np.asarray(made(keys, step, length), np.float64)[:, :length]
            looked = values[:, :, :1] if equal else values  # one look is enough where all values are equal
            one = [[scheduling_oracles.mms(column, agents, chores=chores) for column in items.T] for items in looked]
            shares.append(np.broadcast_to(one, (len(keys), agents)))
        found[f"share/{name}"] = np.stack(shares)
    return found


def adversaries(config):
    """The worst over all sequences on a grid, and the value of the game there."""
    import numpy as np

    from research.matching import scheduling_oracles as oracles

    grid, game = config.problem.grid, config.problem.game
    found = {}
    for name, (rule, agents, chores, equal) in CONTESTS.items():
        counts = [(total, items) for total, items, most in grid if agents <= most]
        options = {"num_agents": agents, "chores": chores, "equal": equal}
        found[f"worst/{name}"] = np.array([oracles.worst_on_grid(rule, *at, **options).ratio for at in counts])
        found[f"items/{name}"] = np.array([items for _, items in counts])
    for name, chores in (("goods", False), ("chores", True)):
        found[f"game/{name}"] = np.array([oracles.game_value(*at, chores=chores) for at in game])
    return found | {"items/game": np.array([items for _, items in game])}


if __name__ == "__main__":
    app.run(main, default_config="configs/matching/scheduling.py")
