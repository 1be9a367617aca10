"""Some arrays of another run's checkpoint, such as the weights that training goes on from; nothing there is changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from experiments.lib import checkpoint, checksum, hosts, leaves
from experiments.lib.errors import RunError

__all__ = ["part"]


def part(folder: Path, like: Any) -> tuple[int, Any]:
    """A part of the newest checkpoint, as `(step, tree)`.

    Args:
      folder: `checkpoints` of a run.
      like: `jax.ShapeDtypeStruct`s with one sharding, in a tree whose leaves lie where they lie in that run's state.

    Raises:
      RunError: there is no checkpoint, it is damaged, or a leaf is not in it or is another one there.
    """
    steps = [int(entry.name) for entry in folder.iterdir() if entry.name.isdecimal()] if folder.is_dir() else []
    if not steps:
        raise RunError(f"{folder} has no checkpoint; runs of seconds keep one with --checkpoint_steps.")
    step = int(hosts.from_first(str(max(steps))))
    error, found = None, None
    try:
        found = _read(folder, step, like)
    except RunError as other:
        error = other
    except Exception as other:  # damage shows in many ways, and all of them mean the same
        error = RunError(f"{folder}: checkpoint {step} is damaged ({checkpoint.first_line(other)}).")
    hosts.settle(error)
    return step, found


def _read(folder: Path, step: int, like: Any) -> Any:
    import jax
    import jax.numpy as jnp
    import orbax.checkpoint as ocp

    checkpoint.quieten()
    sharding = jax.tree.leaves(like)[0].sharding
    handlers = {"state": ocp.StandardCheckpointHandler(), "stamp": ocp.JsonCheckpointHandler()}
    options = ocp.CheckpointManagerOptions(read_only=True)
    with ocp.CheckpointManager(folder.absolute(), options=options, item_handlers=handlers) as manager:
        stamp = checkpoint.read_stamp(manager, step)
        places = [_place(folder, step, stamp["layout"], text) for text in leaves.layout(like)]
        stored = dict(manager.item_metadata(step).state)
        target = {
            name: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding) for name, leaf in stored.items()
        }
        arrays = manager.restore(step, args=ocp.args.Composite(state=ocp.args.StandardRestore(target))).state
    everything = [arrays.get(leaves.name(i), jnp.zeros(0)) for i in range(len(stamp["layout"]))]
    if checksum.of(everything) != stamp["checksum"]:
        raise ValueError("its checksum is wrong")
    return jax.tree.unflatten(jax.tree.structure(like), [everything[place] for place in places])


def _place(folder: Path, step: int, layout: list[str], wanted: str) -> int:
    """The number of a leaf."""
    if wanted in layout:
        return layout.index(wanted)
    path = wanted.partition(" ")[0]
    there = next((text for text in layout if text.partition(" ")[0] == path), "nothing there")
    raise RunError(f"{folder}: checkpoint {step} is of another program ({wanted} is wanted, {there} is kept).")
