"""What heavy tails do to sample variances, to intervals and to running means, and how heavy the tails are.

A case is a walk of depth 1 with its r_0; a replicate is a seed, the same for all cases; a step is one block of READ's
replicates for every case. Metrics, `[R, case]`, of the block: `mean`, `m2`, the sum of squared deviations from it, and
`level`, the highest level that was drawn.
Results: `top [case, R, largest]`, the largest |value| of every seed, descending; `exact [case]`; `variance [case]`, in
closed form; `seen [case, level]`, what is left of it in samples without higher levels; `moments [case]`, p_0 of the
moment profile; `kink [case]`.
Source: derived; `research.mlmc.bounds` and `research.mlmc.second_moments`.
"""

from experiments.lib import app

#: Levels of `seen`: more than any run can draw.
LEVELS = 64


def cases(config) -> list[tuple[str, float]]:
    return list(zip(config.problem.walks, config.problem.rates, strict=True))


def program(config, mesh):
    import jax
    import jax.numpy as jnp

    from experiments.lib import lanes
    from experiments.lib.program import number
    from research.mlmc import engine, read, walks, words

    dtype, block, largest = number(config), config.algo.block, config.problem.largest
    posed = []
    for name, rate in cases(config):
        problem = walks.walk(name, dtype)
        posed.append((problem, read.plan(problem, read.Params(r=(rate,), block=block))))

    def start(key):
        seed = words.seed_words(key, "read")
        return {"seed": seed, "next_id": jnp.zeros(2, jnp.uint32), "top": jnp.zeros((len(posed), largest), dtype)}

    def one(case, state, top):
        problem, plan = case
        ids = words.next_ids(tuple(state["next_id"]), jnp.arange(block, dtype=jnp.uint32))
        ran = engine.block(problem, plan, tuple(state["seed"]), ids, jnp.ones(block, bool))
        x, mean = ran.value, ran.value.mean()
        top = jax.lax.top_k(jnp.concatenate([top, jnp.abs(x)]), largest)[0]
        # A family of level n has 2**n leaves.
        level = jnp.log2(ran.leaves.max().astype(dtype))
        return top, {"mean": mean, "m2": ((x - mean) ** 2).sum(), "level": jnp.round(level)}

    def advance(_, __, state):
        found = [one(case, state, top) for case, top in zip(posed, state["top"], strict=True)]
        metrics = {name: jnp.stack([row[name] for _, row in found]) for name in found[0][1]}
        onward = jnp.stack(words.next_ids(tuple(state["next_id"]), jnp.uint32(block)))
        return {"seed": state["seed"], "next_id": onward, "top": jnp.stack([top for top, _ in found])}, metrics

    labels = tuple(f"{name}, {rate:g}" for name, rate in cases(config))
    return lanes.program(
        config, mesh, draw=lambda key: key, start=start, advance=advance, axes={"case": labels}, in_turn=True
    )  # fmt: skip


def main(config, run, mesh):
    import numpy as np

    from experiments.lib import driver
    from experiments.mlmc import panels_tails

    _, state = driver.drive(program(config, mesh), config, run)
    if not run.results:
        run.results(top=np.asarray(state["top"]).swapaxes(0, 1), **exact(config))
    run.look(panels_tails.quick_look)


def exact(config):
    """Closed forms, on the host; walks in double precision are not needed for six digits."""
    import numpy as np

    from research.mlmc import bounds, second_moments, walks

    found = {"exact": [], "variance": [], "seen": [], "moments": [], "kink": []}
    for name, rate in cases(config):
        problem = walks.walk(name)
        found["exact"].append(problem.exact)
        found["variance"].append(second_moments.single_variance(problem, rate))
        found["seen"].append([second_moments.variance_seen(problem, rate, level) for level in range(LEVELS)])
        found["moments"].append(bounds.moment_profile(problem, (rate,))[0])
        found["kink"].append(problem.smoothness == ("kink",))
    return {name: np.asarray(values) for name, values in found.items()}


if __name__ == "__main__":
    app.run(main, default_config="configs/mlmc/tails.py")
