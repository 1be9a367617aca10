"""Policeman and burglar, as published and as it should be: natural residual against epochs.

Published form (`cai:24`, figure 1a): weights of columns, no centring, the paired draw, steps of five times 1 / |A|, as
if they were safe. They exceed 1 / L and work for one reason: the dominant singular direction of A is nearly the
constant vector, which simplices do not see. The game itself has a pure minimiser, and its value is the least weight;
plateaus of the curves are gaps between order statistics of the weights. Departures: the inner solver keeps its snapshot
where the method defines it, and its first full operator is charged; the authors' script does neither.
Beside it: draws by importance from the centred matrix, certified steps, restarts, and certified reflected resolvents.
A replicate is a seed of the draws; metrics as in `experiments.halpern.contest`.
"""

from experiments.lib import app


def program(config, mesh):
    import jax.numpy as jnp
    import numpy as np

    from experiments.halpern import contest, instances
    from experiments.lib.program import number
    from research.halpern import games
    from research.halpern.inclusions import Problem

    dtype, n = number(config), config.problem.size
    stride = config.run.stride

    def groups():
        worth = np.abs(np.random.RandomState(config.problem.worth_seed).randn(n))
        matrix = games.policeman_burglar(jnp.asarray(worth, dtype), weight="column")
        published = games.matrix_game(matrix, split="paired", centred=False)
        ours = games.matrix_game(matrix)
        case = {
            "problem": Problem(published, games.uniform_start(published)),
            "centred": Problem(ours, games.uniform_start(ours)),
            "frobenius": jnp.sqrt(jnp.sum(matrix**2)), "epochs": jnp.asarray(config.problem.epochs, dtype),
        }  # fmt: skip
        return (contest.stacked([case]),)

    def published(name, step_of, **fields):
        def rule(case):
            problem = case["problem"]
            return contest.enter(name, problem, step_size=step_of(case), unsafe=True, **fields)

        return rule

    def resolvents(name, **fields):
        """c = sqrt(n) / |A|_F, and five times the largest certified step."""
        return lambda case: contest.enter(
            name, case["problem"], schedule="authors", resolvent_step=n**0.5 / case["frobenius"],
            step_size=5 * (1 - 1 / n) ** 0.5 / (n**0.5 * (n**0.5 + 1)), unsafe=True, **fields,
        )  # fmt: skip

    def by_norm(case):
        return 5 / case["problem"].inclusion.lipschitz_full

    rules = {
        "eg": published("eg", by_norm),
        "eag": published("eag", by_norm),
        "vr_eg": published("vr_eg", lambda case: 3 / (n**0.5 * case["frobenius"]), probability=1 / n, stride=stride),
        "page": lambda case: contest.enter(
            "page",
            instances.distinct(case["problem"]),
            step_size=5 / case["frobenius"],
            batch=int(n**0.5),
            stride=max(1, stride // 16),
            unsafe=True,
        ),
        "alg2": resolvents("alg2"),
        "reflected": resolvents("reflected"),
        "restarted": lambda case: contest.enter("restarted", case["centred"]),
        "certified": lambda case: contest.enter("certified", case["centred"], reflected=True),
    }
    chosen = {name: rules[name] for name in config.algo.methods}
    return contest.program(config, mesh, groups=groups, rules=chosen, cases=(f"column {n}",))


def main(config, run, mesh):
    from experiments.halpern import panels_contest
    from experiments.lib import driver

    driver.drive(program(config, mesh), config, run)
    run.look(panels_contest.quick_look, "game")


if __name__ == "__main__":
    app.run(main, default_config="configs/halpern/game.py")
