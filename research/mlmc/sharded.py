"""READ over a mesh: the same blocks as on one device, and the same final number to the bit.

Blocks are dealt out in turn: of n devices, device k runs blocks k, n + k, 2n + k, ..., so that n blocks of B replicates
make a super-block in which it has ids [k B, (k + 1) B). No device waits for another inside a block; blocks are then
folded into the state by id, as one device would.
Source: the estimator is that of `read`; the layout is ours.
"""

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from research.core import validate
from research.core.types import Key
from research.mlmc import read, words

__all__ = ["run"]


def run(
    problem: read.Problem, params: read.Params, key: Key | None = None, *, mesh: Mesh, state: read.State | None = None
) -> read.Result:
    """`read.run` across the axis `rep`: equal to it in every bit.

    Args:
      params: `num_steps` blocks in all, a multiple of the number of devices.

    Raises: ValueError where they cannot be dealt out evenly.
    """
    devices = mesh.shape["rep"]
    validate.require(
        params.num_steps % devices == 0, "Params.num_steps", f"be a multiple of {devices} devices", params.num_steps
    )
    validate.require(
        params.num_steps * params.block < 1 << 32,
        "Params.num_steps",
        "make fewer than 2**32 replicates",
        params.num_steps,
    )
    state = read.init(problem, params, key) if state is None else state
    turns = params.num_steps // devices

    def mine(problem, seed, first):
        rank = jax.lax.axis_index("rep").astype(jnp.uint32)

        def block(_, turn):
            ids = _later(first, (turn * devices + rank), params.block)
            return None, read.block_info(problem, params, seed, ids)

        infos = jax.lax.scan(block, None, jnp.arange(turns, dtype=jnp.uint32))[1]
        return jax.tree.map(lambda leaf: leaf[:, None], infos)

    # check_vma=False: loops inside start from constants.
    infos = jax.shard_map(mine, mesh=mesh, in_specs=(P(), P(), P()), out_specs=P(None, "rep"), check_vma=False)(
        problem, state.seed, state.next_id
    )
    trace = jax.tree.map(lambda leaf: leaf.reshape(params.num_steps, *leaf.shape[2:]), infos)
    state = jax.lax.scan(lambda carry, info: (read.advance(carry, info, params), None), state, trace)[0]
    return read.result(state, trace)


def _later(first, blocks, size):
    """The id `blocks` blocks on; fewer than 2**32 replicates on."""
    return jnp.stack(words.next_ids((first[0], first[1]), blocks * jnp.uint32(size)))
