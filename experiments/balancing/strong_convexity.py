"""Strong convexity of the population's dual along the path of a bias, and how well margins of a batch measure it.

A replicate is a seed of experts and tokens. Four families with scales of their own run side by side, and a Gumbel
router, from a bias of zero under proportional steps, as long as `algo.step_size` over the mean eigenvalue at the start.
A step is a chunk of updates. Metrics, at the bias before the chunk: `modulus [R, kind]`, the second eigenvalue of H;
`mean`, the mean of its nonzero eigenvalues, trace H / (E - 1); `estimate`, the same from margins of `problem.margins`
fresh tokens, counted in bins of `algo.width` score units. Of the Gumbel router, `router [R]`, its modulus, and
`bound [R]`, the lower bound on it by the spread of a + p.
Theorems: `research.balancing.regret_bounds`, `strong_convexity` and `margin_modulus`; `gumbel_router`, its bound.
"""

from experiments.lib import app


def program(config, mesh):
    import jax
    import jax.numpy as jnp

    from experiments.balancing import fixed_scores
    from experiments.lib import lanes
    from experiments.lib.program import number
    from pallas_kernels import topk_route
    from research.balancing import assignment, gumbel_router, population, regret_bounds
    from research.balancing.bias_update import Rule
    from research.core import prng

    asked, dtype = config.problem, number(config)
    kinds, k, e = tuple(asked.kinds), asked.top_k, asked.experts

    def draw(key):
        named = [fixed_scores.model(prng.stream(key, kind), asked, kind, dtype) for kind in kinds]
        location = asked.spread * jax.random.normal(prng.stream(key, "router"), (e,), dtype)
        return key, named, gumbel_router.GumbelRouter(location)

    def start(_):
        memory = [Rule("prop").init(e, dtype) for _ in range(len(kinds) + 1)]
        return jnp.int32(0), memory, jnp.full(len(kinds) + 1, config.algo.step_size * e, dtype)

    def margins(model, bias, key):
        scores = model.sample(key, asked.margins)
        found = topk_route.topk_route(scores, bias, k, threshold=True)
        return assignment.margins(found, bias)

    def advance(_, drawn, state):
        key, models, router = drawn
        step, memory, sizes = state
        found = {name: [] for name in ("modulus", "mean", "estimate")}
        for at, model in enumerate(models):
            bias = memory[at].bias
            curvature = population.hessian(model, bias, k)
            fresh = prng.per_step(prng.stream(key, f"margins {kinds[at]}"), step)
            found["modulus"].append(regret_bounds.strong_convexity(curvature))
            found["mean"].append(jnp.trace(curvature) / (e - 1))
            found["estimate"].append(regret_bounds.margin_modulus(margins(model, bias, fresh), e, config.algo.width))
        shifted = router.location + memory[-1].bias
        found = {name: jnp.stack(values) for name, values in found.items()} | {
            "router": regret_bounds.strong_convexity(router.hessian(memory[-1].bias)),
            "bound": gumbel_router.strong_convexity_bound(shifted.max() - shifted.min(), e),
        }
        chosen = sizes.at[: len(kinds)].set(config.algo.step_size / found["mean"])
        sizes = jnp.where(step == 0, chosen, sizes)
        for at, model in enumerate([*models, router]):
            top_k, rule = (k if at < len(models) else 1), Rule("prop", step_size=sizes[at])
            tokens = prng.stream(key, f"tokens {at}")

            def update(n, memory, model=model, rule=rule, top_k=top_k, tokens=tokens):
                fresh = prng.per_step(tokens, step * config.run.chunk + n)
                return rule.update(memory, model.sample_load(fresh, memory.bias, asked.tokens, top_k), top_k)

            memory = [*memory[:at], jax.lax.fori_loop(0, config.run.chunk, update, memory[at]), *memory[at + 1 :]]
        return (step + 1, memory, sizes), found

    return lanes.program(config, mesh, draw=draw, start=start, advance=advance, axes={"kind": kinds}, in_turn=True)


def main(config, run, mesh):
    from experiments.balancing import panels_strong_convexity
    from experiments.lib import driver

    driver.drive(program(config, mesh), config, run)
    run.look(panels_strong_convexity.quick_look)


if __name__ == "__main__":
    app.run(main, default_config="configs/balancing/strong_convexity.py")
