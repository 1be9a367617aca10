"""How fast ways of balancing a batch close the dual gap: bias updates, the quantile dual, Sinkhorn's iteration, an LP.

A replicate is an instance of fixed scores. A step is one sweep of every method, each of which routes all tokens once;
metrics, `[R]`, by method: `gap/<row>` of the bias updates of `algo.rows` and `gap/quantile`, (D(p_n) - OPT) / OPT
after n sweeps, OPT the least dual value that `algo.exact` sweeps of the quantile dual find; `deviation/quantile`,
max |A - L| in tokens. Step sizes of proportional rules are in units of 1 / mu, mu = phi_m(0) / (E - 1) measured on
the margins of the unbiased batch; those of signs in score units.
Results: `sinkhorn [temperature, count, R]`, the gap of the column potentials after `counts [count]` alternations;
`optimum [R]`, and `program [R]`, of the linear program (NaN where `run.solve` is false); `milliseconds [method]` of a
sweep, and of the whole program, the fastest of `run.timings`, in the order of `methods`.
Source: `research.balancing.quantile`, `sinkhorn`, `oracles`, `alf_lb`.
"""

from experiments.lib import app


def methods(config) -> tuple[str, ...]:
    """Whose time is taken."""
    return "bias update", "quantile", "Sinkhorn", "linear program"


def _scales(config, problem):
    """Units of the rows' step sizes."""
    import jax.numpy as jnp

    from experiments.balancing import fixed_scores
    from pallas_kernels import topk_route
    from research.balancing import assignment, regret_bounds

    bias = jnp.zeros(problem.num_experts, problem.scores.dtype)
    found = topk_route.topk_route(problem.scores, bias, problem.top_k, threshold=True)
    margins = assignment.margins(found, bias)
    modulus = regret_bounds.margin_modulus(margins, problem.num_experts, config.algo.width)
    return fixed_scores.step_units(config.algo.rows, 1 / modulus, 1.0)


def program(config, mesh):
    import jax.numpy as jnp

    from experiments.balancing import fixed_scores
    from experiments.lib import lanes
    from experiments.lib.program import number
    from research.balancing import quantile
    from research.balancing.bias_update import load_error

    rows, dtype = tuple(config.algo.rows), number(config)
    params = quantile.Params(config.run.chunk)

    def draw(key):
        problem = fixed_scores.instance(key, config.problem, dtype)
        best = quantile.run(problem, quantile.Params(config.algo.exact))
        rules = fixed_scores.rules(rows, dtype, scales=_scales(config, problem))
        return problem, rules, jnp.minimum(best.trace.dual.min(), best.last.dual)

    def start(drawn):
        problem, rules, _ = drawn
        return fixed_scores.start(problem, rules), quantile.init(problem, params)

    def advance(_, drawn, state):
        (problem, rules, optimum), (updates, swept) = drawn, state
        updates, _, _ = fixed_scores.advance(problem, rules, updates, config.run.chunk)
        result = quantile.run(problem, params, state=swept)
        found = {f"gap/{row}": (updates.dual[at] - optimum) / optimum for at, row in enumerate(rows)}
        found["gap/quantile"] = (result.last.dual - optimum) / optimum
        found["deviation/quantile"] = jnp.abs(load_error(result.last.load, dtype)).max()
        return (updates, result.state), found

    return lanes.program(config, mesh, draw=draw, start=start, advance=advance, axes={}, in_turn=True)


def others(config, drawn):
    """Results of the module's docstring."""
    import functools
    import time

    import jax
    import jax.numpy as jnp
    import numpy as np

    from research.balancing import alf_lb, assignment, oracles, quantile, sinkhorn

    problems, rules, optimum = drawn
    optimum, k, algo = np.asarray(optimum), config.problem.top_k, config.algo
    counts = 2 ** np.arange(config.algo.doublings + 1)

    @jax.jit
    def potentials(problem, temperature, count):
        return assignment.dual_value(problem, sinkhorn.sinkhorn(problem, temperature, count).bias)

    every = [alf_lb.Problem(scores, k) for scores in problems.scores]
    duals = np.array([
        [[float(potentials(one, jnp.asarray(heat, one.scores.dtype), count)) for one in every] for count in counts]
        for heat in algo.temperatures
    ])  # fmt: skip

    one, rule = every[0], jax.tree.map(lambda leaf: leaf[0, 0], rules)
    begun, biased = quantile.init(one, quantile.Params(1)), alf_lb.init(one, alf_lb.Params(1, rule))
    calls = {
        "bias update": jax.jit(lambda state: alf_lb.step(one, alf_lb.Params(1, rule), state)[0])
        .lower(biased)
        .compile(),
        "quantile": jax.jit(lambda state: quantile.step(one, quantile.Params(1), state)[0]).lower(begun).compile(),
    }
    arguments = {"bias update": biased, "quantile": begun}
    seconds = {name: [] for name in methods(config)}

    def clock(name, call, *given, sweeps=1):
        began = time.perf_counter()
        jax.block_until_ready(call(*given))
        seconds[name].append((time.perf_counter() - began) / sweeps)

    heat = jnp.asarray(algo.temperatures[0], one.scores.dtype)
    for _ in range(config.run.timings):
        for name, call in calls.items():
            clock(name, call, arguments[name])
        clock("Sinkhorn", potentials, one, heat, counts[-1], sweeps=counts[-1])
    values = np.full(len(every), np.nan)
    if config.run.solve:
        for at, each in enumerate(every):
            solve = functools.partial(oracles.linear_program, equal_loads=True)
            began = time.perf_counter()
            values[at] = solve(np.asarray(each.scores), k).value
            seconds["linear program"].append(time.perf_counter() - began)
    return {
        "sinkhorn": (duals - optimum) / optimum, "counts": counts, "optimum": optimum, "program": values,
        "milliseconds": [1e3 * min(seconds[name], default=np.nan) for name in methods(config)],
    }  # fmt: skip


def main(config, run, mesh):
    from experiments.balancing import panels_gap
    from experiments.lib import driver

    (_, drawn), _ = driver.drive(program(config, mesh), config, run)
    if not run.results:
        run.results(**others(config, drawn))
    run.look(panels_gap.quick_look)


if __name__ == "__main__":
    app.run(main, default_config="configs/balancing/gap.py")
