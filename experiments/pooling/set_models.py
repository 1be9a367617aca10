"""Small networks that read a set of levels and answer with one of as many classes: what differs is how they aggregate.

A network is an embedding of levels, an aggregation, and an MLP with one hidden layer. Sums, means, maxima, the GRU, the
learnable monoid and the conjugated sum aggregate tanh of the embedding; tables and tropical polynomials learn how a
level enters them.
"""

import jax
import jax.numpy as jnp

from research.core import prng
from research.core import validate as checks
from research.pooling import constructed_monoids as constructed
from research.pooling import lcm
from research.pooling.sets import set_pool

__all__ = ["EXACT", "LEVELS", "METHODS", "TASKS", "create", "draw", "embed", "logits", "operator"]

METHODS = ("sum", "mean", "max", "GRU", "LCM", "conjugated sum", "tables", "tropical", "tables and tropical")

#: Those whose aggregation is exact at any size and in any order once tables are rounded.
EXACT = ("tables", "tropical", "tables and tropical")

TASKS = ("parity", "second minimum")

#: Levels that occur in each; 0 for all.
LEVELS = (2, 0)


def create(key, method: str, sizes) -> dict:
    """Parameters of a network.

    Args:
      sizes: levels; width of embedding and MLP; tables, states; channels of order statistics.

    Raises:
      ValueError: an unknown method.
    """
    checks.one_of("config.algo.methods", method, METHODS)
    width, levels = sizes.width, sizes.levels
    params, reads, pool = {}, width, prng.stream(key, "pool")
    if method in EXACT:
        reads = 0
        if "tables" in method:
            params["tables"] = constructed.CayleyTables.create(pool, levels, sizes.states, sizes.tables, 2.0)
            reads += sizes.tables * sizes.states
        if "tropical" in method:
            drawn = prng.stream(key, "tropical")
            params["tropical"] = constructed.TropicalPolynomials.create(drawn, levels, sizes.channels)
            reads += 2 * sizes.channels
    elif method == "GRU":
        params["pool"] = lcm.GRUFold.create(pool, width, width)
    elif method == "LCM":
        params["pool"] = lcm.LCM.create(pool, width)
    elif method == "conjugated sum":
        params["pool"] = constructed.ConjugatedSum.create(pool, width)
    rows = jax.random.normal(prng.stream(key, "dense"), (reads + 2 * levels, width))
    if method not in EXACT:
        params["embedding"] = rows[reads + levels :]
    params |= {"hidden": rows[:reads] * (2 / reads) ** 0.5, "hidden_bias": jnp.zeros(width)}
    return params | {"out": rows[reads : reads + levels].T / width**0.5, "out_bias": jnp.zeros(levels)}


def _aggregate(method, params, levels, mask, rounded):
    if method in EXACT:
        size = (params["tables"] if "tables" in params else params["tropical"]).kernel.shape[0]
        entries = jax.nn.one_hot(levels, size)
        parts = [params["tables"](entries, mask, hard=rounded)] if "tables" in params else []
        parts += [params["tropical"](entries, mask)] if "tropical" in params else []
        return jnp.concatenate(parts, axis=-1)
    embedded = embed(params, levels)
    if "pool" in params:
        return params["pool"](embedded, mask)
    return set_pool(embedded, method, mask=mask)


def embed(params, levels):
    """Bounded elements `[G, N, width]`."""
    return jnp.tanh(params["embedding"])[levels]


def logits(method: str, params: dict, levels, mask, rounded: bool = False):
    """Logits `[G, levels]` of sets `[G, N]`; `rounded` evaluates tables exactly."""
    y = _aggregate(method, params, levels, mask, rounded)
    hidden = jax.nn.relu(y @ params["hidden"] + params["hidden_bias"][None])
    return hidden @ params["out"] + params["out_bias"][None]


def operator(params: dict):
    """The binary operator of the learnable monoid."""
    return lambda a, b: lcm.combine(params["pool"].cell, a, b)


def draw(key, task, sets: int, capacity: int, low, high, levels: int):
    """Sets and their answers.

    Args:
      task: 0, parity of bits; 1, second smallest of levels that are uniform above a random lower end.
      capacity: N, room in a set.
      low, high: sizes are uniform on low, ..., high; traced.

    Returns:
      levels `[G, N]`, mask `[G, N]`, answers `[G]`, the smaller of two equal elements being the first.
    """
    uniform = jax.random.uniform(key, (sets, capacity + 2))

    def whole(share, count):
        return jnp.floor(share * count).astype(jnp.int32)

    mask = jnp.arange(capacity)[None] < low + whole(uniform[:, :1], high - low + 1)
    end = jnp.where(task == 0, 0, whole(uniform[:, 1:2], levels))
    drawn = end + whole(uniform[:, 2:], jnp.where(task == 0, 2, levels - end))
    parity = jnp.sum(jnp.where(mask, drawn, 0), axis=1) % 2
    least = jnp.where(mask, drawn, levels)
    # Without the first of the smallest, the smallest is the second one.
    first = jnp.arange(capacity)[None] == jnp.argmin(least, axis=1)[:, None]
    second = jnp.min(jnp.where(first, levels, least), axis=1)
    return drawn, mask, jnp.where(task == 0, parity, second)
