"""The best online policy, exactly: dynamic programming over all sets of free nodes.

V_T = 0 and V_t(F) = V_{t+1}(F) + sum_j p_tj max(0, max_{i in F} w_itj + V_{t+1}(F - i) - V_{t+1}(F)). Sets are bit
masks, bit i for node i. The recursion is `pallas_kernels.subset_dp`; with a mesh the top bits are spread over devices,
and removing such a node is one exchange with a partner.
Source: `braverman:24` (the philosopher as benchmark).

Letters: `n` offline nodes, `T` times, `J` types, `S = 2^n` sets.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from pallas_kernels.subset_dp import subset_dp, xla
from research.core import prng
from research.core import validate as checks
from research.core.types import Array, Bool, Float, Int, Key
from research.matching import draws, problems

__all__ = ["MAX_NODES", "Solution", "choices", "choose", "play", "solve"]

#: On one device. One more node doubles time and memory.
MAX_NODES = 24


class Solution(NamedTuple):
    value: Float[Array, ""]  # of the best online policy, everybody free at first
    values: Float[Array, "T+1 S"] | None  # V_t of every free set; None unless asked for


def solve(
    problem: problems.Problem,
    *,
    keep: bool = False,
    mesh: Mesh | None = None,
    axis: str = "model",
    validate: bool = True,
) -> Solution:
    """The philosopher's value, in the dtype of the weights; time T J 2^n n.

    Args:
      keep: also return the values of all times, which the policy needs.
      mesh: spreads the top bits over its `axis`, of 2^k devices; then up to 24 + k nodes.

    Raises: ValueError for bad input, and for more nodes than fit, with the memory that they would take.
    """
    if validate:
        problems.validate(problem)
    shards = 1 if mesh is None else mesh.shape[axis]
    top_bits = shards.bit_length() - 1
    checks.require(shards == 1 << top_bits, f"mesh axis {axis!r}", "have a power of two of devices", shards)
    num_nodes, num_steps = problem.num_offline, problem.num_steps
    limit = MAX_NODES + top_bits
    if num_nodes > limit:
        one = jnp.dtype(problem.weights.dtype).itemsize * 2.0**num_nodes
        memory = f"{one / 2**30:.3g} GiB for one time, {(num_steps + 1) * one / 2**30:.3g} GiB for all"
        checks.require(
            False, "number of offline nodes", f"be <= {limit} on {shards} device(s)", f"{num_nodes}: {memory}"
        )
    checks.require(num_nodes >= top_bits, "number of offline nodes", "be at least log2 of the devices", num_nodes)
    return _solve(problem, keep, mesh, axis, top_bits)


@functools.partial(jax.jit, static_argnames=("keep", "mesh", "axis", "top_bits"))
def _solve(problem, keep, mesh, axis, top_bits):
    typed = problem.typed
    weights = jnp.moveaxis(problem.weights, 0, -1) if typed else problem.weights.T[:, None]  # [T or 1, J, n]
    arrivals = problem.arrivals if typed else problem.arrivals[:, None]
    if mesh is None:
        values = subset_dp(weights, arrivals, keep=keep)
    else:
        local = functools.partial(xla.subset_dp, keep=keep, top_bits=top_bits, axis=axis)
        # check_vma=False: the scan starts from a constant that is the same on all devices.
        sharded = jax.shard_map(
            local, mesh=mesh, in_specs=(P(), P()), out_specs=P(None, axis) if keep else P(axis), check_vma=False
        )
        values = sharded(weights, arrivals)
    return Solution(values[0, -1], values) if keep else Solution(values[-1], None)


def choose(next_values: Float[Array, " S"], weights: Float[Array, " n"], free: Bool[Array, " n"]) -> Int[Array, ""]:
    """The node that the best policy gives an arrival, or -1: argmax of w_i + V_{t+1}(F - i), if at least V_{t+1}(F).

    Ties: to match rather than not, and to the smaller index. Edges of weight 0 are never used.
    """
    bits = jnp.left_shift(1, jnp.arange(weights.shape[0]))
    now = jnp.sum(jnp.where(free, bits, 0))
    gains = weights + next_values[jnp.where(free, now - bits, 0)] - next_values[now]
    gains = jnp.where(free & (weights > 0), gains, -jnp.inf)
    return jnp.where(jnp.max(gains) >= 0, jnp.argmax(gains), -1).astype(jnp.int32)


def choices(problem: problems.Problem, values: Float[Array, "T+1 S"]) -> Int[Array, "T S *J"]:
    """`choose` for every time, free set and type: the policy as a table, for `exact_law.law_of_choices` (small n)."""
    num_nodes = problem.num_offline
    inside = (jnp.arange(1 << num_nodes)[:, None] >> jnp.arange(num_nodes)[None]) & 1 == 1
    weights = jnp.moveaxis(problem.weights, 0, -1)  # [T or 1, *J, n]
    weights = jnp.broadcast_to(weights, (*problem.arrivals.shape, num_nodes))
    one = jax.vmap(choose, (None, None, 0))
    if problem.typed:
        one = jax.vmap(one, (None, 0, None), out_axes=1)
    return jax.vmap(one, (0, 0, None))(values[1:], weights, inside)


def play(
    problem: problems.Problem, values: Float[Array, "T+1 S"], key: Key
) -> tuple[Float[Array, ""], Int[Array, " T"]]:
    """One run of the best policy: its value, and whom it matched at each time (-1: nobody).

    With the same key the same arrivals come as in `rounding.run`, so that the two can be compared run by run.
    """
    words = draws.key_words(prng.stream(key, "rounding"))
    arrivals = problem.arrivals if problem.typed else problem.arrivals[:, None]
    weights = jnp.moveaxis(problem.weights, 0, -1) if problem.typed else problem.weights.T[:, None]
    weights = jnp.broadcast_to(weights, (*arrivals.shape, problem.num_offline))

    def one(free, time):
        index, weights, arrivals, later = time
        arrived, kind = draws.arrival(draws.event(words, index), arrivals)
        node = jnp.where(arrived, choose(later, weights[kind], free), -1)
        reward = jnp.where(node >= 0, weights[kind, node], 0)
        return free & (jnp.arange(free.shape[0]) != node), (reward, node)

    start = jnp.ones(problem.num_offline, bool)
    _, (rewards, nodes) = jax.lax.scan(one, start, (jnp.arange(arrivals.shape[0]), weights, arrivals, values[1:]))
    return jnp.sum(rewards), nodes
