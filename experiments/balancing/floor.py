"""How uneven batches remain once rules have settled, against the floor that sampling sets, by tokens per batch.

A replicate is a seed. Fresh tokens, `problem.tokens` per update in turn, of independent normal scores, and
of "clustered" ones, groups of `problem.group` neighbours that share a part of their scores; the rows of `algo.rows`
run side by side on the same tokens, with step sizes in the units of `experiments.balancing.regret`. A step is a chunk
of updates. Metrics `[R, tokens]`, means over the chunk: `violation/<row>` and `clustered/<row>`, MaxVio of a batch;
`effective`, the number of independent tokens whose loads vary as much as the clustered ones, under the first row.
Results: `floor [tokens]`, of independent tokens; `modulus`.
Theorem: `research.balancing.regret_bounds.noise_floor`, `effective_tokens`.
"""

from experiments.lib import app


def models(config):
    """Independent and clustered scores."""
    import jax

    from experiments.lib.program import number
    from research.balancing import score_models
    from research.core import prng

    asked = config.problem
    key = prng.stream(prng.root_key(asked.instance_seed), "locations")
    location = asked.spread * jax.random.normal(key, (asked.experts,), number(config))
    plain = score_models.location_family("normal", location)
    # Of the same deviation: groups share a part of the variance.
    own = score_models.location_family("normal", location, (1 - asked.share) ** 0.5)
    return plain, score_models.Clustered(own, asked.share**0.5, asked.group)


def program(config, mesh):
    import jax
    import jax.numpy as jnp

    from experiments.balancing import fixed_scores
    from experiments.lib import lanes
    from experiments.lib.program import number
    from pallas_kernels import topk_route
    from research.balancing import metrics, population, regret_bounds
    from research.core import prng

    rows, dtype, asked = tuple(config.algo.rows), number(config), config.problem

    @jax.jit
    def common():
        """Both models, and mu of the independent one."""
        plain, clustered = models(config)
        curvature = population.hessian(plain, plain.location.mean() - plain.location, asked.top_k)
        return plain, clustered, regret_bounds.strong_convexity(curvature)

    def rules(modulus, tokens):
        deviation = regret_bounds.share_deviation(asked.experts, asked.top_k, tokens)
        scales = fixed_scores.step_units(rows, 1 / modulus, deviation / modulus)
        return fixed_scores.rules(rows, dtype, scales=scales.astype(dtype), offset=config.algo.offset)

    def start(_):
        one = jax.vmap(lambda rule: rule.init(asked.experts, dtype))(fixed_scores.rules(rows, dtype))
        return jnp.int32(0), [(one, one) for _ in asked.tokens]

    def chunk(model, rules, key, first, memory, tokens):
        """The biases after a chunk, and loads `[updates, row, E]`."""

        def update(memory, n):
            scores = model.sample(prng.per_step(key, first + n), tokens)

            def one(rule, state):
                load = topk_route.topk_route(scores, state.bias, asked.top_k).load
                return rule.update(state, load, asked.top_k), load

            return jax.vmap(one)(rules, memory)

        return jax.lax.scan(update, memory, jnp.arange(config.run.chunk))

    def advance(given, key, state):
        (plain, clustered, modulus), (step, memories) = given, state
        moved, found = [], {"plain": [], "clustered": [], "effective": []}
        for tokens, pair in zip(asked.tokens, memories, strict=True):
            made, after = rules(modulus, tokens), []
            for name, model, memory in zip(("plain", "clustered"), (plain, clustered), pair, strict=True):
                fresh = prng.stream(key, f"{name} {tokens}")
                memory, loads = chunk(model, made, fresh, step * config.run.chunk, memory, tokens)
                after.append(memory)
                found[name].append(metrics.max_violation(loads).mean(axis=0))
            found["effective"].append(regret_bounds.effective_tokens(loads[:, 0], asked.top_k))
            moved.append(tuple(after))
        by_row = {
            f"{'violation' if name == 'plain' else name}/{row}": jnp.stack(found[name])[:, at].astype(dtype)
            for name in ("plain", "clustered")
            for at, row in enumerate(rows)
        }
        return (step + 1, moved), by_row | {"effective": jnp.stack(found["effective"]).astype(dtype)}

    return lanes.program(
        config, mesh, draw=lambda key: key, start=start, advance=advance, common=common,
        axes={"tokens": tuple(map(str, asked.tokens))}, in_turn=True,
    )  # fmt: skip


def main(config, run, mesh):
    import numpy as np

    from experiments.balancing import panels_floor
    from experiments.lib import driver
    from research.balancing import regret_bounds

    ((_, _, modulus), _), _ = driver.drive(program(config, mesh), config, run)
    if not run.results:
        asked = config.problem
        floor = regret_bounds.noise_floor(np.array(asked.tokens, float), asked.experts, asked.top_k)
        run.results(floor=floor, modulus=modulus)
    run.look(panels_floor.quick_look)


if __name__ == "__main__":
    app.run(main, default_config="configs/balancing/floor.py")
