"""Truthful posted prices: welfare beside the rounding that prices and the philosopher, revenue, and misreports.

A step is a family, a replicate an instance of each. Metrics, `[R]`: `welfare` and `revenue` with exact prices,
`rounding`, the value of the rescaled closed form that prices, `philosopher`, `dual`; `rollouts/<k>`, mean welfare of
`run.runs` runs with k rollouts for each price; `gain/exact` and `gain/rollouts`, the most that a buyer got by a random
report in place of the truth: over all times, free sets and trials, and over all runs and times.
Results: `price [T, n]`, exact prices along a run of one instance (infinite once sold), and `sold [T]`.
Source: `banihashem:24` for the reduction; the form is that of `research.matching.mechanism`.
"""

from experiments.lib import app

TRIALS = 32


def program(config, mesh):
    import jax
    import jax.numpy as jnp

    from experiments.lib import lanes
    from experiments.lib.program import number
    from experiments.matching import contenders, families
    from research.core import prng
    from research.matching import mechanism, mechanism_exact, philosopher

    cases, dtype = config.problem.cases, number(config)

    def advance(_, drawn, case):
        key, batch = drawn
        key = prng.per_step(key, case)
        problem = jax.tree.map(lambda leaf: leaf[case], batch)
        found = contenders.relaxed(problem, config.algo.tolerance)
        sale = priced(problem, found.x)
        exact = mechanism_exact.exact(sale)
        metrics = {
            "welfare": exact.welfare[0, -1], "revenue": exact.revenue[0, -1], "rounding": exact.rounding[0, -1],
            "philosopher": philosopher.solve(problem, validate=False).value, "dual": found.dual,
            "gain/exact": _largest_gain(prng.stream(key, "reports"), sale, exact.prices),
        }  # fmt: skip
        keys = lanes.run_keys(key, 0, config.run.runs)
        fewest, *more = config.algo.rollouts
        welfare, gain = jax.vmap(lambda one: _honest_and_lying(sale, fewest, one))(keys)
        metrics |= {f"rollouts/{fewest}": jnp.mean(welfare), "gain/rollouts": jnp.max(gain)}
        for count in more:
            params = mechanism.Params(num_steps=problem.num_steps, num_rollouts=count)
            play = jax.vmap(lambda one, params=params: mechanism.run(sale, params, one, validate=False))
            metrics[f"rollouts/{count}"] = jnp.mean(play(keys).welfare)
        return case + 1, metrics

    def _largest_gain(key, sale, prices):
        """Of random reports, at every time and free set."""
        weights = sale.weights.T[:, None]

        def trial(one):
            reports = weights * jax.random.exponential(one, (*prices.shape[:2], weights.shape[-1]), dtype)
            return jnp.max(mechanism.misreport_gain(prices, jnp.broadcast_to(weights, reports.shape), reports))

        return jnp.max(jax.lax.map(trial, prng.replicate_keys(key, TRIALS)))

    def _honest_and_lying(sale, count, key):
        """The welfare of a run, and what a buyer gains in the same run in which she alone misreports."""
        params = mechanism.Params(num_steps=sale.arrivals.shape[0], num_rollouts=count)
        buyer_key, report_key = jax.random.split(prng.stream(key, "misreport"))
        buyer = jax.random.randint(buyer_key, (), 0, sale.arrivals.shape[0])
        said = sale.weights[:, buyer] * jax.random.exponential(report_key, (sale.weights.shape[0],), dtype)

        def played(reports):
            told = mechanism.Problem(sale.weights, sale.arrivals, sale.rates, reports)
            return mechanism.run(told, params, key, validate=False).trace

        traces = jax.lax.map(played, jnp.stack([sale.weights, sale.weights.at[:, buyer].set(said)]))
        honest, lying = (traces.welfare - traces.payment)[:, buyer]
        return jnp.sum(traces.welfare[0]), lying - honest

    axes = {"case": tuple(map(families.label, cases)), "rollouts": tuple(map(str, config.algo.rollouts))}
    return lanes.program(
        config, mesh, draw=lambda key: (key, families.draw(key, cases, dtype)), start=lambda _: jnp.int32(0),
        advance=advance, axes=axes,
    )  # fmt: skip


def priced(problem, x):
    """The mechanism whose prices are the values to go of the rescaled rounding of x."""
    from research.matching import mechanism, rates

    return mechanism.Problem(problem.weights, problem.arrivals, rates.proposal_rates(problem, x, rates.EDGE))


def main(config, run, mesh):
    from experiments.lib import driver
    from experiments.matching import panels_mechanism

    (_, (_, batch)), _ = driver.drive(program(config, mesh), config, run)
    if not run.results:
        run.results(**price_path(config, batch))
    run.look(panels_mechanism.quick_look)


def price_path(config, batch):
    """Exact prices of the first instance along the free sets of one run."""
    import jax
    import numpy as np

    from experiments.matching import contenders
    from research.core import prng
    from research.matching import mechanism, mechanism_exact

    problem = jax.tree.map(lambda leaf: leaf[0, 0], batch)
    sale = priced(problem, contenders.relaxed(problem, config.algo.tolerance).x)
    params = mechanism.Params(num_steps=problem.num_steps, num_rollouts=max(config.algo.rollouts))
    sold = np.asarray(mechanism.run(sale, params, prng.stream(prng.root_key(config.seed), "path")).trace.sold)
    gone = np.cumsum(np.where(sold >= 0, 1 << np.maximum(sold, 0), 0))
    free = (1 << problem.num_offline) - 1 - np.concatenate([[0], gone[:-1]])
    return {"price": np.asarray(mechanism_exact.exact(sale).prices)[np.arange(len(sold)), free], "sold": sold}


if __name__ == "__main__":
    app.run(main, default_config="configs/matching/mechanism.py")
