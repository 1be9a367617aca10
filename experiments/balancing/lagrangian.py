"""How the dual value changes from update to update, on fixed scores, in float64.

A replicate is an instance, a step one update of every row. Metrics, `[R, row]`: `dual`, D(p_n); `value`, V(p_n);
`change`, D(p_n) - D(p_{n-1}); `benefit`, what tokens gain by choosing anew; `required`, the benefit below which D
falls; `ahead`, the upper bound on the change by the new loads; `identity`, |change - (benefit - required)|;
`loss_bound`, the upper bound on OPT - V(p_n); `deviation`, max_k |A_k - L| under p_n, in tokens. Results:
`optimum [R]`, of a linear program.
Theorems: `research.balancing.bounds`, `dual_change` and the functions after it.
"""

from experiments.lib import app


def program(config, mesh):
    import jax
    import jax.numpy as jnp

    from experiments.balancing import fixed_scores
    from experiments.lib import lanes
    from experiments.lib.program import number
    from research.balancing import bounds
    from research.balancing.bias_update import load_error

    rows, dtype = tuple(config.algo.rows), number(config)

    def advance(rules, problem, state):
        state, history, _ = fixed_scores.advance(problem, rules, state, config.run.chunk)
        moved, before, after = jnp.diff(history.bias, axis=1), history.load[:, :-1], history.load[:, 1:]
        change = jnp.diff(history.dual, axis=1)
        error = jnp.abs(change - bounds.dual_change(before, moved, history.benefit))
        found = {
            "dual": history.dual[:, 1:],
            "value": history.value[:, 1:],
            "change": change,
            "benefit": history.benefit,
            "required": bounds.required_benefit(before, moved),
            "ahead": bounds.dual_change_ahead(after, moved),
            "identity": error,
            "loss_bound": bounds.quality_loss_bounds(after, history.bias[:, 1:])[0],
            "deviation": jnp.abs(load_error(after, dtype)).max(axis=-1),
        }
        return state, {name: values[:, -1] for name, values in found.items()}

    return lanes.program(
        config, mesh, draw=lambda key: fixed_scores.instance(key, config.problem, dtype),
        start=lambda problem: fixed_scores.start(problem, fixed_scores.rules(rows, dtype)), advance=advance,
        common=jax.jit(lambda: fixed_scores.rules(rows, dtype)), axes={"row": rows},
    )  # fmt: skip


def main(config, run, mesh):
    import numpy as np

    from experiments.balancing import panels_lagrangian
    from experiments.lib import driver
    from research.balancing import oracles

    (_, problems), _ = driver.drive(program(config, mesh), config, run)
    if not run.results:
        scores = np.asarray(problems.scores)
        run.results(optimum=[oracles.linear_program(one, config.problem.top_k, equal_loads=True).value
                             for one in scores])  # fmt: skip
    run.look(panels_lagrangian.quick_look)


if __name__ == "__main__":
    app.run(main, default_config="configs/balancing/lagrangian.py")
