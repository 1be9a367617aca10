"""What low-rank bilinear pooling can express: random sets of triples, by construction and by learning, rank by rank.

A replicate is a set of triples over at most `problem.entities` entities and `problem.relations` relations, of random
sizes and density. With one-hot embeddings and rank k, factors are learned by Adam on squared errors of all scores; a
step is an update at every rank. Metrics, `[R, rank]`: `excess`, squared error less the least that any factors of the
rank have; `margin`, the lowest score of a true triple less the highest of a false one (1 where all are alike).
Results, `[R]`: `constructed` and `normalised`, margins of `bilinear.separating` at rank min(E, R), without and with the
normalisation; `frugal`, at the least rank that suffices, `needed`; `full`, min(E, R); `least [R, rank]`, least squared
errors; `best_margin [R, rank]`, margins of the factors that have them.
Theorem: `research.pooling.robust_bounds.full_rank` (T17).
"""

from experiments.lib import app


def program(config, mesh):
    import jax
    import jax.numpy as jnp
    import optax

    from experiments.lib import lanes
    from experiments.lib.program import number
    from research.core import prng
    from research.pooling import bilinear

    asked, dtype = config.problem, number(config)
    most, relations = asked.entities, asked.relations
    ranks = jnp.arange(1, relations + 1)
    optimizer = optax.adam(config.algo.learning_rate)
    identities = jnp.eye(most, dtype=dtype), jnp.eye(relations, dtype=dtype)

    def draw(key):
        of_sizes, of_density, of_triples, of_factors = jax.random.split(prng.stream(key, "triples"), 4)
        sizes = jax.random.randint(of_sizes, (2,), jnp.array([2, 1]), jnp.array([most, relations]) + 1)
        entity, relation = jnp.arange(most) < sizes[0], jnp.arange(relations) < sizes[1]
        valid = entity[:, None, None] & relation[None, :, None] & entity[None, None, :]
        density = jax.random.uniform(of_density, minval=0.2, maxval=0.8)
        true = valid & (jax.random.uniform(of_triples, valid.shape) < density)
        singular = jnp.linalg.svd(jnp.moveaxis(true, 2, 0).astype(dtype), compute_uv=False)
        least = jnp.sum(singular**2) - jnp.cumsum(jnp.sum(singular**2, axis=0))[:relations]
        return true, valid, sizes, least, of_factors

    def start(drawn):
        keys = jax.random.split(drawn[-1])
        columns = most * relations
        factors = bilinear.Factors(*(
            0.5 * jax.random.normal(key, (len(ranks), size, columns), dtype)
            for key, size in zip(keys, (most, relations), strict=True)
        ))  # fmt: skip
        return factors, jax.vmap(optimizer.init)(factors)

    def scores(factors, rank):
        # A rank below the largest: the last columns of every block are switched off.
        live = jnp.tile(jnp.arange(relations) < rank, most).astype(dtype)
        return bilinear.scores(*identities, bilinear.Factors(factors.left * live[None], factors.right), relations)

    def advance(_, drawn, state):
        true, valid, _, least, _ = drawn

        def error(factors, rank):
            return jnp.sum(jnp.where(valid, scores(factors, rank) - true, 0) ** 2)

        def update(carry, _):
            factors, memory = carry
            slope = jax.vmap(jax.grad(error))(factors, ranks)
            change, memory = jax.vmap(optimizer.update)(slope, memory)
            return (optax.apply_updates(factors, change), memory), None

        state, _ = jax.lax.scan(update, state, length=config.run.chunk)
        found = jax.vmap(scores)(state[0], ranks)
        low = jnp.min(jnp.where(true[None], found, jnp.inf), axis=(1, 2, 3))
        high = jnp.max(jnp.where((valid & ~true)[None], found, -jnp.inf), axis=(1, 2, 3))
        every = jnp.isfinite(low) & jnp.isfinite(high)  # both kinds are there
        return state, {
            "excess": jax.vmap(error)(state[0], ranks) - least,
            "margin": jnp.where(every, low - high, 1),
        }

    names = tuple(f"k = {rank}" for rank in range(1, relations + 1))
    return lanes.program(config, mesh, draw=draw, start=start, advance=advance, axes={"rank": names})


def margin(score, true):
    """Lowest score of a true triple less the highest of a false one; 1 where all are alike, as by construction."""
    return score[true].min() - score[~true].max() if true.any() and not true.all() else 1.0


def constructions(config, drawn):
    """Results of the module's docstring."""
    import functools

    import jax
    import numpy as np

    from research.pooling import bilinear, robust_bounds

    most, widest = config.problem.entities, config.problem.relations
    identities = np.eye(most), np.eye(widest)
    score = jax.jit(functools.partial(bilinear.scores, *identities, rank=widest), static_argnames="normalize")

    def separated(triples, rank, normalize=False):
        """Margin of the construction, its factors filled up with zeros, so that one program serves every set."""
        _, _, factors = bilinear.separating(triples, rank)
        filled = []
        for factor, rows in zip(factors, (most, widest), strict=True):
            blocks = np.asarray(factor).reshape(len(factor), -1, rank)
            room = (rows - len(factor), most - blocks.shape[1], widest - rank)
            filled.append(np.pad(blocks, [(0, left) for left in room]).reshape(rows, -1))
        found = np.asarray(score(params=bilinear.Factors(*filled), normalize=normalize))
        return margin(found[: triples.shape[0], : triples.shape[1], : triples.shape[2]], triples)

    true, _, sizes, least = (np.asarray(part) for part in drawn[:4])
    found = {name: [] for name in ("constructed", "normalised", "frugal", "needed", "full", "best_margin")}
    for each, (entities, relations) in zip(true, sizes, strict=True):
        triples = each[:entities, :relations, :entities]
        full, needed = robust_bounds.full_rank(int(entities), int(relations)), bilinear.truth_rank(triples)
        found["constructed"].append(separated(triples, full))
        found["normalised"].append(separated(triples, full, normalize=True))
        found["frugal"].append(separated(triples, needed))
        found["needed"].append(needed)
        found["full"].append(full)
        u, s, vt = np.linalg.svd(np.moveaxis(triples.astype(float), 2, 0), full_matrices=False)
        cut = [np.moveaxis((u[..., :k] * s[:, None, :k]) @ vt[:, :k], 0, 2) for k in range(1, widest + 1)]
        found["best_margin"].append([margin(one, triples) for one in cut])
    return {name: np.array(values) for name, values in found.items()} | {"least": least}


def main(config, run, mesh):
    from experiments.lib import driver
    from experiments.pooling import panels_bilinear

    (_, drawn), _ = driver.drive(program(config, mesh), config, run)
    if not run.results:
        run.results(**constructions(config, drawn))
    run.look(panels_bilinear.quick_look)


if __name__ == "__main__":
    app.run(main, default_config="configs/pooling/bilinear.py")
