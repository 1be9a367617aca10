"""The band that loads of the sign rule settle in, and when: constant steps of several sizes on fixed scores.

A replicate is an instance, a step a chunk of updates at every step size of `algo.rows`. Metrics, `[R, row]`, of the
chunk: `deviation`, the largest max_k |A_k - L|, in tokens; `excess`, the largest deviation less the band over the
updates from N0 on (minus the number of tokens before); `spread`, the largest of max p - min p over its bound.
Results, `[R, row]`: `time`, N0; `band`, in tokens.
Theorem: `research.balancing.bounds.settled_load_deviation`, `settling_time` and `sign_spread`.
"""

from experiments.lib import app


def program(config, mesh):
    import jax
    import jax.numpy as jnp

    from experiments.balancing import contest, fixed_scores
    from experiments.lib import lanes
    from experiments.lib.program import number
    from research.balancing import bounds
    from research.balancing.bias_update import load_error

    rows, dtype, asked = tuple(config.algo.rows), number(config), config.problem
    steps = jnp.array([row.value for row in contest.rows(rows)], dtype)

    def draw(key):
        problem = fixed_scores.instance(key, asked, dtype)
        far = bounds.score_range(problem.scores)
        time = bounds.settling_time(far, steps, asked.experts)
        band = jax.vmap(lambda u: bounds.settled_load_deviation(problem.scores, asked.top_k, u))(steps)
        return problem, time, band, bounds.sign_spread(far, steps)

    def advance(rules, drawn, state):
        problem, time, band, widest = drawn
        numbers = state.step[:, None] + 1 + jnp.arange(config.run.chunk)[None]
        state, history, _ = fixed_scores.advance(problem, rules, state, config.run.chunk)
        deviation = jnp.abs(load_error(history.load[:, 1:], dtype)).max(axis=-1)
        outside = jnp.where(numbers >= time[:, None], deviation - band[:, None], -asked.tokens)
        spread = history.bias.max(axis=-1) - history.bias.min(axis=-1)
        return state, {
            "deviation": deviation.max(axis=1),
            "excess": outside.max(axis=1),
            "spread": spread.max(axis=1) / widest,
        }

    return lanes.program(
        config, mesh, draw=draw, start=lambda drawn: fixed_scores.start(drawn[0], fixed_scores.rules(rows, dtype)),
        advance=advance, common=jax.jit(lambda: fixed_scores.rules(rows, dtype)), axes={"row": rows},
    )  # fmt: skip


def main(config, run, mesh):
    from experiments.balancing import panels_settling
    from experiments.lib import driver

    (_, (_, time, band, _)), _ = driver.drive(program(config, mesh), config, run)
    if not run.results:
        run.results(time=time, band=band)
    run.look(panels_settling.quick_look)


if __name__ == "__main__":
    app.run(main, default_config="configs/balancing/settling.py")
