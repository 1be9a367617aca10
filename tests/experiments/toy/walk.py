"""A random walk with drift: the smallest experiment that has data, a key in its state and something that can fail."""

from experiments.lib import app


def program(config, mesh):
    """One replicate is one walk; replicate `problem.breaks` becomes NaN at step `problem.breaks_at`."""
    import jax
    import jax.numpy as jnp

    from experiments.lib import mesh as mesh_lib
    from experiments.lib.program import Program
    from research.core import prng, sharding

    problem, num = config.problem, config.run.replicates

    def init():
        key = prng.stream(prng.root_key(config.seed), "walk")
        keys = prng.replicate_keys(key, num)
        drift = jnp.full((problem.dim,), problem.drift, jnp.float32)
        state = {
            "key": keys,
            "step": jnp.zeros((num,), jnp.int32),
            "x": jnp.zeros((num, problem.dim), jnp.float32),
            "unused": jnp.zeros((num, 0), jnp.float32),
            "index": jnp.arange(num, dtype=jnp.int32),
        }
        return sharding.replicated(drift, mesh), sharding.split_replicates(state, mesh)

    def chunk(drift, state):
        def step(state, _):
            draw = jax.random.normal(prng.per_step(state["key"], state["step"]), (problem.dim,))
            x = state["x"] + drift + draw
            broken = (state["index"] == problem.breaks) & (state["step"] + 1 >= problem.breaks_at)
            return state | {"x": jnp.where(broken, jnp.nan, x), "step": state["step"] + 1}, None

        state, _ = jax.lax.scan(step, state, length=config.run.chunk)
        return state, {"distance": jnp.linalg.norm(state["x"]), "position": state["x"][:2]}

    advance = mesh_lib.over_replicates(mesh, chunk, shared=1)

    abstract = jax.eval_shape(init)
    abstract_args = (sharding.replicated(abstract[0], mesh), sharding.split_replicates(abstract[1], mesh))
    return Program(init, advance, abstract_args, ("seed", "problem.drift"), {"coordinate": ("first", "second")})


def main(config, run, mesh):
    """Walks, and keeps where every walk ended."""
    import numpy as np

    from experiments.lib import driver

    _, state = driver.drive(program(config, mesh), config, run)
    run.results(final=np.asarray(state["x"]), labels=np.asarray(["first", "second"]))
    run.figure("walk.txt").write_text(f"{run.curves['distance'].shape}\n")


if __name__ == "__main__":
    app.run(main, default_config="tests/experiments/toy/configs/walk.py")
