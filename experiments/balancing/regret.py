"""Regret of online balancing under six rules, against what theory predicts, by family of scores.

A replicate is a seed; all rows see its tokens, T fresh ones an update, and start from a bias of zero. A step is a chunk
of updates. Metrics, `[R, row]`: `regret`, Regret_n, exact for the Gumbel router and of the second-order expansion of f
else; `exact` and `quadratic`, f(p_n) - f(p*) after the chunk and its expansion, in float64. Scores are drawn and routed
in float32, which is several times faster and shifts a tie in a million.
Step sizes of `algo.rows` are in units of 1 / mu for proportional rules and of sigma / mu for signs, sigma the standard
deviation of a balanced load share. Results: `theory [row, point]`, leading orders of Regret_n up to a constant, at the
ends of the chunks; `forecast [row, point]`, expected regret of linearised runs; `steps [row]`, step sizes; `modulus`;
`start`, f(0) - f(p*).
Theorems: `research.balancing.regret_bounds`; `research.balancing.prediction` for the forecast.
"""

from experiments.lib import app


def problem_of(config):
    """Of a location family, whose bias of balance cancels the locations."""
    import jax

    from experiments.lib.program import number
    from research.balancing import gumbel_router, online, score_models
    from research.core import prng

    asked = config.problem
    key = prng.stream(prng.root_key(asked.instance_seed), "locations")
    location = asked.spread * jax.random.normal(key, (asked.experts,), number(config))
    if asked.kind == "gumbel" and asked.top_k == 1:
        return online.problem_of(gumbel_router.GumbelRouter(location))
    return online.problem_of(score_models.location_family(asked.kind, location), asked.top_k)


def units(config, modulus):
    """Of the rows' step sizes, in score units."""
    from experiments.balancing import fixed_scores
    from research.balancing import regret_bounds

    asked = config.problem
    deviation = regret_bounds.share_deviation(asked.experts, asked.top_k, asked.tokens)
    return fixed_scores.step_units(config.algo.rows, 1 / modulus, deviation / modulus)


def program(config, mesh):
    import jax
    import jax.numpy as jnp

    from experiments.balancing import fixed_scores
    from experiments.lib import lanes
    from experiments.lib.program import number
    from research.balancing import online, regret_bounds

    rows, dtype = tuple(config.algo.rows), jnp.float32

    @jax.jit
    def common():
        problem = problem_of(config)
        scales = units(config, regret_bounds.strong_convexity(problem.hessian))
        rules = fixed_scores.rules(rows, dtype, scales=scales, offset=config.algo.offset)
        return problem, jax.tree.map(lambda leaf: leaf.astype(dtype), problem), rules

    def start(key):
        zeros = jnp.zeros((len(rows), config.problem.experts), dtype)
        rules = fixed_scores.rules(rows, dtype)
        memory = jax.vmap(lambda rule, bias: rule.init(config.problem.experts, dtype, bias))(rules, zeros)
        return online.State(jnp.int32(0), key, memory, jnp.zeros(len(rows), dtype))

    def advance(given, _, state):
        problem, fast, rules = given
        kind = "exact" if config.problem.kind == "gumbel" and config.problem.top_k == 1 else "quadratic"
        shared = online.State(None, None, 0, 0)  # one step and one key: all rows see the same tokens

        def one(rule, state):
            params = online.Params(config.run.chunk, config.problem.tokens, rule, kind)
            state = online.run(fast, params, state=state).state
            bias = state.memory.bias.astype(number(config))
            return state, [online.excess(problem, bias, name) for name in ("exact", "quadratic")]

        state, (exact, quadratic) = jax.vmap(one, in_axes=(0, shared), out_axes=(shared, 0))(rules, state)
        return state, {"regret": state.regret, "exact": exact, "quadratic": quadratic}

    return lanes.program(
        config, mesh, draw=lambda key: key, start=start, advance=advance, common=common, axes={"row": rows}
    )


def predictions(config, problem):
    """Results of the module's docstring."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    from experiments.balancing import contest
    from research.balancing import online, population, prediction, regret_bounds
    from research.balancing.bias_update import Rule
    from research.balancing.gumbel_router import GumbelRouter

    asked, offset = config.problem, config.algo.offset
    sizes = asked.experts, asked.top_k, asked.tokens
    ends = np.arange(config.run.chunk, config.run.num_steps + 1, config.run.chunk)
    rows = contest.rows(config.algo.rows)
    away = -problem.minimiser

    @jax.jit
    def of_model(problem):
        if isinstance(problem.model, GumbelRouter):
            covariance = problem.hessian
        else:
            covariance = population.selection_covariance(problem.model, problem.minimiser, asked.top_k)
        constants = prediction.Constants(problem.hessian, covariance)
        return constants, regret_bounds.strong_convexity(problem.hessian), online.excess(problem, jnp.zeros_like(away))

    constants, modulus, start = of_model(problem)
    steps = np.array([row.value for row in rows]) * np.asarray(units(config, modulus))

    def leading(row, step):
        if row.method == "none":
            return regret_bounds.unbalanced_regret(start, 0.0, ends)
        name, schedule = row.method.split()
        if schedule in ("inv", "inv_offset"):
            slope = regret_bounds.inverse_step_slope(*constants, asked.tokens, step)
            return slope * np.log(ends + (offset if schedule == "inv_offset" else 0))
        rate = regret_bounds.sign_step_regret if name == "sign" else regret_bounds.constant_step_regret
        return rate(step, *sizes) * (ends if schedule == "const" else 2 * np.sqrt(ends))

    @jax.jit
    def courses(constants):
        def course(row, step):
            if row.method == "none":
                return start * ends
            rule = Rule(*row.method.split(), step_size=step, offset=offset)
            found = prediction.forecast(constants, rule, asked.tokens, asked.top_k, away, config.run.num_steps)
            return found.regret[ends - 1]

        return jnp.stack([course(row, step) for row, step in zip(rows, steps, strict=True)])

    theory = np.stack([leading(row, step) for row, step in zip(rows, steps, strict=True)])
    return {
        "theory": theory, "forecast": courses(constants), "steps": steps, "modulus": modulus, "start": start,
    }  # fmt: skip


def main(config, run, mesh):
    from experiments.balancing import panels_regret
    from experiments.lib import driver

    ((problem, _, _), _), _ = driver.drive(program(config, mesh), config, run)
    if not run.results:
        run.results(**predictions(config, problem))
    run.look(panels_regret.quick_look)


if __name__ == "__main__":
    app.run(main, default_config="configs/balancing/regret.py")
