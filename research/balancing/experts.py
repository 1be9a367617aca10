"""Outputs of routed experts on one device, by three ways of bringing tokens to weights; none drops a token.

`blocked` lays slots out by expert and pads each expert's run to whole blocks, so that a block is one product with one
expert's weights: on CPUs. `ragged` hands the same rows without padding to `lax.ragged_dot`: on accelerators; on a CPU
that multiplies every row by every expert. `capacity` has a fixed number of rows for each expert, what one expert has
beyond it follows in further rounds: for routers that keep loads below a capacity. All give the same outputs and
gradients.

Letters: `T` tokens, `S` slots of each, `E` experts, `d` width, `f` hidden width of an expert.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from research.balancing import routing
from research.core import validate as checks
from research.core.types import Array, Float, Int

__all__ = ["PATHS", "combine", "experts", "in_round", "ranks", "rounds", "slot_outputs"]

PATHS = ("blocked", "ragged", "capacity")
_BLOCK = 64


def experts(
    x: Float[Array, "T d"], index: Int[Array, "T S"], gate: Float[Array, "T S"], params: Mapping[str, Array],
    path: str = "blocked", block: int = _BLOCK, capacity: int | None = None,
) -> Float[Array, "T d"]:  # fmt: skip
    """sum_s gate_s down(silu(gate(x)) * up(x)) of each token's experts; indices of E and above add nothing.

    Args:
      params: "gate" and "up" `[E, d, f]`, "down" `[E, f, d]`.
      path: one of `PATHS`.
      block: rows of a block, of `blocked`.
      capacity: rows of an expert in a round, of `capacity`; None for T S / E, rounded up.

    Raises:
      ValueError: unknown path, block or capacity below one, or shapes that do not fit.
    """
    checks.shape("gate", gate, index.shape)
    return combine(slot_outputs(x, index, params, path, block, capacity), gate)


def combine(outputs: Float[Array, "T S d"], gate: Float[Array, "T S"]) -> Float[Array, "T d"]:
    """Sums of slots, weighted."""
    return jnp.einsum("tsd,ts->td", outputs, gate.astype(outputs.dtype))


def slot_outputs(
    x: Float[Array, "T d"], index: Int[Array, "T S"], params: Mapping[str, Array], path: str = "blocked",
    block: int = _BLOCK, capacity: int | None = None,
) -> Float[Array, "T S d"]:  # fmt: skip
    """The outputs of each token's experts, not yet weighted; zero where the index is E or above. As `experts`."""
    checks.one_of("path", path, PATHS)
    checks.at_least("block", block, 1)
    checks.shape("x", x, (index.shape[0], params["gate"].shape[1]))
    if path == "ragged":
        return _ragged(x, index, params)
    if path == "blocked":
        return _blocked(x, index, params, block)
    num_experts = params["gate"].shape[0]
    capacity = -(-index.size // num_experts) if capacity is None else capacity
    checks.at_least("capacity", capacity, 1)
    return _by_capacity(x, index, params, min(capacity, index.size))


def ranks(group: Int[Array, " N"], groups: int) -> tuple[Int[Array, " N"], Int[Array, " groups"]]:
    """How many earlier entries are of the same group, and the size of each group; of `groups` and above neither counts.

    By running counts and not by a sort, which a compiler for TPUs takes minutes to write out.
    """
    member = (group[:, None] == jnp.arange(groups)[None]).astype(jnp.int32)
    until = jnp.cumsum(member, axis=0, dtype=jnp.int32)
    return jnp.sum(member * (until - member), axis=1, dtype=jnp.int32), until[-1]


def _placed(index, count, first, size):
    """Where the rows of slots go that are laid out by expert, and the token of each row; place `size` has no slot."""
    (tokens, slots), num_experts = index.shape, count.shape[0]
    flat = index.reshape(-1)
    before, _ = ranks(flat, num_experts)
    row = first[jnp.minimum(flat, num_experts - 1)] + before
    row = jnp.where(flat < num_experts, row, size).astype(jnp.int32)
    token = jnp.arange(tokens * slots, dtype=jnp.int32) // slots
    return row.reshape(index.shape), jnp.full(size + 1, tokens, jnp.int32).at[row].set(token)[:-1]


def _count(index, num_experts):
    return routing.count(index, index < num_experts, num_experts)


def _with_zero(rows):
    return jnp.concatenate([rows, jnp.zeros((1, *rows.shape[1:]), rows.dtype)])


def _blocked(x, index, params, block):
    num_experts, number = params["gate"].shape[0], -(-index.size // block) + params["gate"].shape[0]
    count = _count(index, num_experts)
    blocks = -(-count // block)
    last_block = jnp.cumsum(blocks)
    row, token = _placed(index, count, (last_block - blocks) * block, number * block)
    taken = _with_zero(x)[token].reshape(number, block, -1)
    expert = jnp.minimum(jnp.searchsorted(last_block, jnp.arange(number), side="right"), num_experts - 1)
    gated, raised = (jnp.einsum("bik,bkn->bin", taken, params[name][expert]) for name in ("gate", "up"))
    out = jnp.einsum("bik,bkn->bin", jax.nn.silu(gated) * raised, params["down"][expert])
    return _with_zero(out.reshape(number * block, -1))[row]


def _ragged(x, index, params):
    count = _count(index, params["gate"].shape[0])
    row, token = _placed(index, count, jnp.cumsum(count) - count, index.size)
    taken = _with_zero(x)[token]
    gated, raised = (jax.lax.ragged_dot(taken, params[name], count) for name in ("gate", "up"))
    return _with_zero(jax.lax.ragged_dot(jax.nn.silu(gated) * raised, params["down"], count))[row]


def _by_capacity(x, index, params, capacity):
    """Rounds of `capacity` rows for each expert; all but the first run only where an expert has more tokens."""
    (tokens, slots), num_experts = index.shape, params["gate"].shape[0]
    owner = jnp.minimum(index.reshape(-1), num_experts)
    rank, count = ranks(owner, num_experts)

    def one(number):
        place, slot = in_round(owner, rank, number, num_experts, capacity)
        taken = _with_zero(x)[slot // slots].reshape(num_experts, capacity, -1)
        gated, raised = (jnp.einsum("eck,ekn->ecn", taken, params[name]) for name in ("gate", "up"))
        out = jnp.einsum("eck,ekn->ecn", jax.nn.silu(gated) * raised, params["down"])
        return _with_zero(out.reshape(num_experts * capacity, -1))[place]

    return rounds(one, -(-tokens * slots // capacity), jnp.max(count), capacity).reshape(*index.shape, -1)


def in_round(
    group: Int[Array, " N"], rank: Int[Array, " N"], number: Int[Array, ""], groups: int, capacity: int
) -> tuple[Int[Array, " N"], Int[Array, " places"]]:
    """Where the entries go that round `number` serves, and which entry each of `groups * capacity` places holds.

    The place of the others is `groups * capacity`, and the entry of an empty place is N.
    """
    here = (group < groups) & (rank // capacity == number)
    place = jnp.where(here, group * capacity + rank - number * capacity, groups * capacity)
    entry = jnp.full(groups * capacity + 1, group.size, jnp.int32)
    return place, entry.at[place].set(jnp.arange(group.size, dtype=jnp.int32))[:-1]


def rounds(one, most: int, longest: Int[Array, ""], capacity: int):
    """one(0) + one(1) + ..., until queues of `longest` entries, served `capacity` a round, are empty; `most` at most.

    Only the first round's intermediate results are kept for derivatives; later ones are made again.
    """
    first = one(jnp.int32(0))
    if most == 1:
        return first
    skipped = jnp.zeros_like(first)

    @jax.checkpoint
    def later(total, number):
        return total + jax.lax.cond(number * capacity < longest, one, lambda _: skipped, number), None

    def rest():
        return jax.lax.scan(later, skipped, jnp.arange(1, most, dtype=jnp.int32))[0]

    return first + jax.lax.cond(longest > capacity, rest, lambda: skipped)
