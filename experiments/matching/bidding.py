"""Clients of one agency in repeated second-price auctions: each pacing alone, or coordinated, on the same auctions.

A step is an auction; a replicate draws values and outside bids uniform on [0, 1]. All rules play the same rounds.
Metrics, `[R, client]`, over the rounds so far: `utility/<rule>`, `spend/<rule>`, and `multiplier/<rule>`, the pacing
multiplier's mean over the last chunk of rounds. Rules: `research.matching.bidding`; coordinated ones share the surplus.
Results: `fixed_point [client]`, where independent pacing settles, with its `residual`; `bound [R]`, what no rule can
exceed; `lie/<rule> [client, scale]`, mean over replicates of what a client gains by scaling her reported values.
Source: `balseiro:19` for pacing; the coordination rules are our own.
"""

from experiments.lib import app

RULES = ("independent", "leader", "shadow")
SCALES = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 4.0)


def program(config, mesh):
    import jax.numpy as jnp

    from experiments.lib import lanes
    from research.matching import bidding

    setting, chunk = config.problem, config.run.chunk
    rates = jnp.asarray(setting.budget_rates)
    params = {rule: make_params(config, rule, chunk) for rule in RULES}

    def draw(key):
        return bidding.uniform(key, config.run.num_steps, len(setting.budget_rates), rates)

    def start(problem):
        return {rule: (bidding.init(problem, params[rule]), jnp.zeros(problem.num_clients)) for rule in RULES}

    def advance(_, problem, states):
        after, metrics = {}, {}
        for rule, (state, spend) in states.items():
            played = bidding.run(problem, params[rule], state=state, validate=False)
            spend = spend + jnp.sum(played.trace.payment, axis=0)
            after[rule] = played.state, spend
            metrics |= {
                f"utility/{rule}": played.state.utility, f"spend/{rule}": spend,
                f"multiplier/{rule}": jnp.mean(played.trace.multiplier, axis=0),
            }  # fmt: skip
        return after, metrics

    clients = tuple(f"{rate:g}" for rate in setting.budget_rates)
    axes = {"client": clients, "rule": RULES, "scale": tuple(f"{scale:g}" for scale in SCALES)}
    return lanes.program(config, mesh, draw=draw, start=start, advance=advance, axes=axes)


def make_params(config, rule, num_steps):
    """Parameters of one rule; nothing is shared when everybody is on her own."""
    from research.matching import bidding

    share = 0.0 if rule == "independent" else config.algo.share
    return bidding.Params(num_steps=num_steps, rule=rule, step_size=config.algo.step_size, share=share)


def main(config, run, mesh):
    from experiments.lib import driver
    from experiments.matching import panels_bidding

    (_, problems), _ = driver.drive(program(config, mesh), config, run)
    if not run.results:
        run.results(**settled(config, problems))
    run.look(panels_bidding.quick_look)


def settled(config, problems):
    """Fixed point, bound on coordination, and what lies gain."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    from research.matching import bidding, bidding_oracles

    values, outside, budgets = (np.asarray(leaf) for leaf in (problems.values, problems.outside, problems.budgets))
    point = bidding_oracles.fixed_point(
        values.reshape(-1, values.shape[-1]), outside.reshape(-1), np.asarray(config.problem.budget_rates)
    )
    bound = [bidding_oracles.welfare_bound(*one) for one in zip(values, outside, budgets, strict=True)]
    found = {"fixed_point": point.multiplier, "residual": point.residual, "bound": bound}
    few = jax.tree.map(lambda leaf: leaf[: config.run.liars], problems)
    clients, scales = jnp.arange(values.shape[-1]), jnp.asarray(SCALES)
    for rule in RULES:
        params = make_params(config, rule, config.run.num_steps)

        def gain(problem, client, scale, params=params):
            return bidding.misreport_gain(problem, params, client, value_scale=scale)

        over = jax.vmap(jax.vmap(jax.vmap(gain, (None, None, 0)), (None, 0, None)), (0, None, None))
        found[f"lie/{rule}"] = jnp.mean(jax.jit(over)(few, clients, scales), axis=0)
    return found


if __name__ == "__main__":
    app.run(main, default_config="configs/matching/bidding.py")
