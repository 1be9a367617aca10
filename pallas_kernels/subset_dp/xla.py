"""The recursion as a `lax.scan` over times: the path of CPUs, of GPUs, of float64, and of sets spread over devices.

Removing a node subtracts its bit: its candidates are the same array shifted, and nothing is gathered. A block of 2^9
neighbouring sets meets all n candidates in one pass; those of the upper bits come from other blocks, those of the lower
bits from the block itself, shifted, both with weight -inf where the node is not free. Values of two neighbouring times
take turns in two arrays, so that a time costs one pass over each and no copy. Within `shard_map` the top bits may be
spread over devices, and removing such a node is one exchange with a partner.

On a TPU its schedule is bound by the blocks: some twenty operations for each, each with its own trip to memory. The
table is in `cases.py`. Source: as `reference.py`; the layout is our own.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

__all__ = ["subset_dp"]

#: log2 of the sets handled in one pass: long enough vectors that still fit a first-level cache.
_BLOCK_BITS = 9


def subset_dp(weights, arrivals, *, keep=False, top_bits=0, axis=None):
    """Same contract as `api.subset_dp`; with `top_bits`, of the sets whose top bits are this device's index on `axis`.

    Two arrays take turns, one read and one written, so two times go by in a step: with one time in a step the compiler
    would copy an array where they change places. An odd number of times gets one more in front, when nobody comes.
    """
    num_nodes, num_steps = weights.shape[-1], arrivals.shape[0]
    num_bits = num_nodes - top_bits
    device = jax.lax.axis_index(axis) if top_bits else jnp.int32(0)
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
    if not keep:
        return _of_sets(first, num_bits)
    last = _of_sets(start, num_bits)
    return jnp.concatenate([rows.reshape(-1, *last.shape)[num_steps % 2 :], last[None]])


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
