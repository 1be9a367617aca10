"""Does a replicate depend on what it is computed with? The same ids in other tiles, blocks and on other devices.

A replicate is a range of `problem.ids` ids of READ; a step computes it in one of `VARIANTS` of tiles and blocks.
Metrics, `[R]`: `differs`, ids whose value has other bits than in the first variant; `leaves` of the range.
Results: `devices [n]`, and `differing [n]`, ids whose value has other bits than on one CPU device where a process of
its own computes all ranges on so many; `compared`, how many ids that is each time.
Source: none, it is how randomness is keyed (`research.mlmc.words`).
"""

from experiments.lib import app

#: Replicates a block and lanes a tile of each depth, as shares of the ids of a range.
VARIANTS = ("one block", "four blocks", "narrow tiles", "equal tiles")


def _params(config, variant: int):
    from research.mlmc import read

    ids, depth = config.problem.ids, len(config.algo.r)
    block = ids // 4 if variant == 1 else ids
    narrow, equal = (block, *(max(ids // 16 >> d, 8) for d in range(depth))), (block,) * (depth + 1)
    tiles = (None, None, narrow, equal)[variant]
    return read.Params(r=tuple(config.algo.r), b=tuple(config.algo.b), block=block, tiles=tiles, num_steps=ids // block)


def values(config, problem, variant, seed, first):
    """Values `[ids]` and leaves of the ids from `first` on."""
    import jax
    import jax.numpy as jnp

    from research.mlmc import engine, read, words

    params = _params(config, variant)
    plan = read.plan(problem, params)

    def block(_, start):
        ids = words.next_ids((start, jnp.uint32(0)), jnp.arange(params.block, dtype=jnp.uint32))
        ran = engine.block(problem, plan, (seed[0], seed[1]), ids, jnp.ones(params.block, bool))
        return None, (ran.value, ran.leaves.sum())

    starts = first + jnp.arange(params.num_steps, dtype=jnp.uint32) * params.block
    values, leaves = jax.lax.scan(block, None, starts)[1]
    return values.reshape(-1), leaves.sum()


def _problem_and_seed(config):

    from experiments.lib.program import number
    from experiments.mlmc import nested_problems
    from research.core import prng
    from research.mlmc import words

    seed = words.seed_words(prng.root_key(config.seed), "read")
    return nested_problems.named(config.problem.name, number(config)), seed


def program(config, mesh):
    import jax
    import jax.numpy as jnp

    from experiments.lib import mesh as mesh_lib
    from experiments.lib.program import Program
    from research.core import sharding

    number = config.run.replicates

    def first():
        return jnp.arange(number, dtype=jnp.uint32) * config.problem.ids, jnp.zeros(number, jnp.int32)

    def advance(problem, seed, start, step):
        reference, leaves = values(config, problem, 0, seed, start)
        branches = [
            lambda v=v: values(config, problem, v, seed, start)[0] if v else reference for v in range(len(VARIANTS))
        ]
        found = jax.lax.switch(step % len(VARIANTS), branches)
        bits = (jax.lax.bitcast_convert_type(x, jnp.int32) for x in (found, reference))
        differs = jnp.not_equal(*bits).sum().astype(found.dtype)
        return (start, step + 1), {"differs": differs, "leaves": leaves.astype(found.dtype)}

    given = sharding.replicated(jax.eval_shape(lambda: _problem_and_seed(config)), mesh)
    state = sharding.split_replicates(jax.eval_shape(first), mesh)
    lanes = mesh_lib.over_replicates(mesh, jax.custom_batching.sequential_vmap(advance), shared=2)

    def init():
        placed = jax.tree.map(lambda leaf: leaf.sharding, state)
        return sharding.replicated(_problem_and_seed(config), mesh), jax.jit(first, out_shardings=placed)()

    return Program(
        init, jax.jit(lambda data, state: lanes(*data, *state)), (given, state), ("seed",), {"variant": VARIANTS}
    )


def all_bits(config, mesh):
    """Bits, int32 `[R, ids]`, of the values of all ranges, in the first variant, over the `rep` axis of the mesh."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    from experiments.lib import mesh as mesh_lib

    @jax.custom_batching.sequential_vmap
    def alone(problem, seed, start):
        return values(config, problem, 0, seed, start)[0]

    starts = jnp.arange(config.run.replicates, dtype=jnp.uint32) * config.problem.ids
    found = mesh_lib.over_replicates(mesh, alone, shared=2)(*_problem_and_seed(config), starts)
    return {"bits": np.asarray(found).view(np.int32)}


def main(config, run, mesh):
    import numpy as np

    from experiments.lib import child, driver

    def on(count):
        return child.on_cpu_devices("experiments.mlmc.invariance", "all_bits", config, {"rep": int(count)})["bits"]

    driver.drive(program(config, mesh), config, run)
    if not run.results:
        alone = on(1)
        differing = [int((on(count) != alone).sum()) for count in config.run.devices]
        run.results(devices=np.array(config.run.devices), differing=differing, compared=alone.size)


if __name__ == "__main__":
    app.run(main, default_config="configs/mlmc/invariance.py")
