"""The best online policy, exactly: dynamic programming over all sets of free nodes.

V_T = 0 and V_t(F) = V_{t+1}(F) + sum_j p_tj max(0, max_{i in F} w_itj + V_{t+1}(F - i) - V_{t+1}(F)). Sets are bit
masks, bit i for node i, and removing a node subtracts 2^i: its candidates are the same array shifted, and nothing is
gathered. A block of 2^9 neighbouring sets meets all n candidates in one pass; those of the upper bits come from other
blocks, those of the lower bits from the block itself, shifted, both with weight -inf where the node is not free. Values
of two neighbouring times take turns in two arrays, so that a time costs one pass over each and no copy. With a
mesh the top bits are spread over devices, and removing such a node is one exchange with a partner.
Source: `braverman:24` (the philosopher as benchmark); the layout is our own.

Letters: `n` offline nodes, `T` times, `J` types, `S = 2^n` sets.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from research.core import prng
from research.core import validate as checks
from research.core.types import Array, Bool, Float, Int, Key
from research.matching import draws, problems

__all__ = ["MAX_NODES", "Solution", "choices", "choose", "play", "solve"]

#: On one device. One more node doubles time and memory.
MAX_NODES = 24
#: log2 of the sets handled in one pass: long enough vectors that still fit a first-level cache.
_BLOCK_BITS = 9


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
    backward = functools.partial(_backward, keep=keep, top_bits=top_bits, axis=axis)
    if mesh is None:
        last, values = backward(weights, arrivals, jnp.int32(0))
    else:
        specs = (P(axis), P(None, axis) if keep else None)

        def local(weights, arrivals):
            return backward(weights, arrivals, jax.lax.axis_index(axis))

        # check_vma=False: the scan starts from a constant that is the same on all devices.
        sharded = jax.shard_map(local, mesh=mesh, in_specs=(P(), P()), out_specs=specs, check_vma=False)
        last, values = sharded(weights, arrivals)
    return Solution(last[-1], values)


def _backward(weights, arrivals, device, *, keep, top_bits, axis):
    """V_0 `[S]` and, if asked for, all V_t `[T+1, S]`; of the sets whose top bits are `device`.

    Two arrays take turns, one read and one written, so two times go by in a step: with one time in a step the compiler
    would copy an array where they change places. An odd number of times gets one more in front, when nobody comes.
    """
    num_nodes, num_steps = weights.shape[-1], arrivals.shape[0]
    num_bits = num_nodes - top_bits
    stationary = weights.shape[0] == 1
    missing = ((num_steps % 2, 0), (0, 0))
    times = jnp.pad(arrivals, missing).reshape(-1, 2, arrivals.shape[1])
    if not stationary:
        times = times, jnp.pad(weights, (*missing, (0, 0))).reshape(-1, 2, *weights.shape[1:])

    def back(carry, pair):
        later, earlier = carry
        p, weight = (pair, jnp.stack([weights[0]] * 2)) if stationary else pair
        earlier = _improve(later, earlier, device, weight[1], p[1], top_bits, axis)
        later = _improve(earlier, later, device, weight[0], p[0], top_bits, axis)
        rows = jnp.stack([_of_sets(later, num_bits), _of_sets(earlier, num_bits)]) if keep else None
        return (later, earlier), rows

    # In front of the first block there are sets that no free node leads to.
    start = jnp.zeros(_front(num_bits) + (1 << num_bits), weights.dtype)
    (first, _), rows = jax.lax.scan(back, (start, start), times, reverse=True)
    if keep:
        last = _of_sets(start, num_bits)
        rows = jnp.concatenate([rows.reshape(-1, *last.shape)[num_steps % 2 :], last[None]])
    return _of_sets(first, num_bits), rows


def _front(num_bits):
    """Length of the padding: how far below a set the removal of a lower bit reaches."""
    return 1 << max(min(_BLOCK_BITS, num_bits) - 1, 0)


def _of_sets(padded, num_bits):
    return padded[_front(num_bits) :]


def _without_remote(values, bit, top_bits, axis):
    """The partner's values: a device whose sets hold top bit `bit` gets those of the sets without it, others zeros."""
    devices = range(1 << top_bits)
    return jax.lax.ppermute(values, axis, [(d, d | 1 << bit) for d in devices if not d >> bit & 1])


def _improve(values, out, device, weights, arrivals, top_bits, axis):
    """Writes into `out` the values one time earlier; `weights [J, n]`, `arrivals [J]` of that time."""
    remote = [_without_remote(values, bit, top_bits, axis) for bit in range(top_bits)]
    add = functools.partial(_add_type, values, remote, device)
    out = add(values, out, weights[0], arrivals[0])
    if len(weights) > 1:
        out, _ = jax.lax.scan(lambda out, this: (add(None, out, *this), None), out, (weights[1:], arrivals[1:]))
    return out


def _add_type(values, remote, device, base, out, weights, p):
    """Writes into `out`, block by block, `base` plus p times what the best match of one type adds to `values`.

    Without a base it is added to what `out` holds.
    """
    num_bits = weights.shape[0] - len(remote)
    low = min(_BLOCK_BITS, num_bits)
    size, front = 1 << low, _front(num_bits)
    never = jnp.asarray(-jnp.inf, weights.dtype)
    lane = np.arange(size)
    within = jnp.where((lane[None] >> np.arange(low)[:, None]) & 1 == 1, weights[:low, None], never)

    def best_of(best, candidate):
        return jnp.where(candidate > best, candidate, best)  # one instruction, as `maximum` with its NaN rule is not

    def block(index, out):
        here = front + index * size

        def at(array, start):
            return jax.lax.dynamic_slice(array, (start,), (size,))

        now = at(values, here)
        best = now
        for bit in range(num_bits - low):
            weight = jnp.where(index >> bit & 1 == 1, weights[low + bit], never)
            best = best_of(best, at(values, front + (index & ~(1 << bit)) * size) + weight)
        for bit in range(low):
            best = best_of(best, at(values, here - (1 << bit)) + within[bit])
        for bit, partner in enumerate(remote):
            weight = jnp.where(device >> bit & 1 == 1, weights[num_bits + bit], never)
            best = best_of(best, at(partner, here) + weight)
        improved = at(out if base is None else base, here) + p * (best - now)
        return jax.lax.dynamic_update_slice(out, improved, (here,))

    return jax.lax.fori_loop(0, 1 << (num_bits - low), block, out)


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
