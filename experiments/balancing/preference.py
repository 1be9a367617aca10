"""Which experts tokens leave, and for which: every switch of every update on fixed scores.

A replicate is an instance, a step a chunk of updates of every row. Metrics, `[R, row]`, of the updates of the chunk:
`violations`, switches against the preference; `FROM-TO`, switches from an expert with an excess of load ("over"),
with exactly L ("even") or less ("under") to such an expert; `tied`, switches between equally loaded experts. Also
`difference/<row> [R, difference]`, switches by A_j - A_k, load of the dropped less load of the picked expert, in
tokens; the ends of `problem.differences` take what lies beyond.
Theorem: `research.balancing.bounds.preference_violations`.
"""

from experiments.lib import app

STATES = ("over", "even", "under")


def program(config, mesh):
    import jax
    import jax.numpy as jnp

    from experiments.balancing import contest, fixed_scores
    from experiments.lib import lanes
    from experiments.lib.program import number
    from research.balancing import bounds
    from research.balancing.bias_update import load_error

    rows, dtype = tuple(config.algo.rows), number(config)
    low, high = config.problem.differences
    kinds = [row.method.split()[0] for row in contest.rows(rows)]

    def advance(rules, problem, state):
        state, history, switched = fixed_scores.advance(problem, rules, state, config.run.chunk, record_switches=True)
        load = history.load[:, :-1]
        error = load_error(load, dtype)
        # Of chunks, [row, n, E]: 0 for an excess, 1 for exactly L, 2 for less.
        at = 1 + jnp.sign(error).astype(jnp.int32)
        member = jax.nn.one_hot(at, 3, dtype=dtype)
        between = jnp.einsum("rnja,rnjk,rnkb->rab", member, switched.astype(dtype), member)
        found = {f"{one}-{other}": between[:, i, j] for i, one in enumerate(STATES) for j, other in enumerate(STATES)}
        gap = load[..., :, None] - load[..., None, :]
        found["tied"] = jnp.sum(jnp.where(gap == 0, switched, 0), axis=(1, 2, 3)).astype(dtype)
        found["violations"] = jnp.stack(
            [bounds.preference_violations(switched[i], load[i], kind).sum() for i, kind in enumerate(kinds)]
        ).astype(dtype)
        bins = jnp.clip(gap, low, high) - low
        for i, row in enumerate(rows):
            empty = jnp.zeros(high - low + 1, dtype)
            found[f"difference/{row}"] = empty.at[bins[i]].add(switched[i].astype(dtype))
        return state, found

    return lanes.program(
        config, mesh, draw=lambda key: fixed_scores.instance(key, config.problem, dtype),
        start=lambda problem: fixed_scores.start(problem, fixed_scores.rules(rows, dtype)), advance=advance,
        common=jax.jit(lambda: fixed_scores.rules(rows, dtype)),
        axes={"row": rows, "difference": tuple(map(str, range(low, high + 1)))},
    )  # fmt: skip


def main(config, run, mesh):
    from experiments.balancing import panels_preference
    from experiments.lib import driver

    driver.drive(program(config, mesh), config, run)
    run.look(panels_preference.quick_look)


if __name__ == "__main__":
    app.run(main, default_config="configs/balancing/preference.py")
