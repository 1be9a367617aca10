"""Checkpoints of a pytree of arrays: two clocks, checksums, restore onto any mesh and any number of processes.

orbax is imported at the first save or restore: a run of a few seconds never pays for it.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import json
import logging
import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from experiments.lib import checksum, hosts, leaves
from experiments.lib.errors import RunError

__all__ = ["Checkpoints", "first_line", "quieten", "read_stamp"]

KEEP = 2

#: A final state younger than this is not worth a checkpoint: redoing the steps is cheaper than importing orbax.
_WORTH_SAVING_SECONDS = 10.0


class Checkpoints:
    """The checkpoints of one run, in `folder/<step>/`, the last two of them.

    Args:
      folder: made at the first save.
      say: takes one line about a checkpoint that cannot be used.
      every_steps: save when a multiple of it has been passed; 0 for never.
      every_minutes: save when so much time has passed since the last save; 0 for after every chunk.
    """

    def __init__(self, folder: Path, say: Callable[[str], None], *, every_steps: int = 0, every_minutes: float = 5.0):
        self._folder, self._say = Path(folder).absolute(), say
        self._every_steps, self._every_seconds = every_steps, 60.0 * every_minutes
        self._manager: Any = None
        self._last_step, self._last_time = 0, time.monotonic()

    # Clocks.

    def due(self, step: int) -> bool:
        """Whether one of the clocks asks for a checkpoint at `step`."""
        return self._passed(step) or time.monotonic() - self._last_time >= self._every_seconds

    def worth_keeping(self, step: int) -> bool:
        """Whether the final state should be saved: steps ask for it, or a kill in what follows would cost much."""
        late = time.monotonic() - self._last_time >= _WORTH_SAVING_SECONDS
        return step != self._last_step and (late or self._passed(step))

    def _passed(self, step: int) -> bool:
        every = self._every_steps
        return bool(every) and step // every > self._last_step // every

    # Saving.

    def save(self, step: int, state: Any) -> None:
        """Starts writing `state`, a pytree of arrays; the arrays may be overwritten as soon as this returns.

        Raises:
          RunError: this or the last checkpoint cannot be written, as on a full disk; earlier ones are whole.
        """
        import jax
        import orbax.checkpoint as ocp

        total = checksum.of(map(leaves.raw, jax.tree.leaves(state)))
        stamp = {"step": step, "layout": leaves.layout(state), "checksum": total}
        with self._one_line(f"checkpoint {step} cannot be written"):
            self._open().save(
                step,
                args=ocp.args.Composite(
                    state=ocp.args.StandardSave(leaves.storable(state)),
                    stamp=ocp.args.JsonSave(stamp | {"own_crc32": leaves.text_crc32(stamp)}),
                ),
                force=True,
            )
        self._last_step, self._last_time = step, time.monotonic()

    def wait(self) -> None:
        """Returns when everything saved is on the disk. Raises `RunError` if it cannot be."""
        if self._manager is not None:
            with self._one_line(f"checkpoint {self._last_step} cannot be written"):
                self._manager.wait_until_finished()

    def close(self) -> None:
        """Waits and lets go of orbax's threads."""
        if self._manager is not None:
            self.wait()
            self._manager.close()
            self._manager = None

    @contextlib.contextmanager
    def _one_line(self, what: str):
        try:
            yield
        except RunError:
            raise
        except Exception as error:  # tensorstore tells a full disk in errors of many classes
            known = [os.strerror(number) for number in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES)]
            reason = next((text for text in known if text in str(error)), first_line(error))
            raise RunError(f"{self._folder}: {what} ({reason})") from error

    # Restoring.

    def restore(self, like: Any, usable: Callable[[int], bool]) -> tuple[int, Any] | None:
        """The newest whole checkpoint as `(step, state)`; None if there is none.

        Args:
          like: a concrete state of this program, on the mesh of today; decides structure, dtypes and shardings.
          usable: whether the rows up to a step are there too.

        Raises:
          RunError: the checkpoints are of another program: other names, shapes or dtypes.
        """
        steps = hosts.from_first(json.dumps(sorted(self._steps_on_disk(), reverse=True)))
        for step in json.loads(steps):
            state, other, damage = None, None, ""
            try:
                if not usable(step):
                    raise ValueError("rows before it are missing")
                state = self._read(step, like)
            except RunError as error:
                other = error
            except Exception as error:  # damage shows in many ways, and all of them mean the same
                damage = first_line(error)
            hosts.settle(other)
            if hosts.agree([bool(damage)]).any():
                self._say(f"checkpoint {step} is damaged and skipped ({damage or 'another process cannot read it'})")
                self._drop(step)
                continue
            self._last_step, self._last_time = step, time.monotonic()
            return step, state
        return None

    def _read(self, step: int, like: Any) -> Any:
        import jax
        import orbax.checkpoint as ocp

        manager = self._open()
        stamp = read_stamp(manager, step)
        expected = leaves.layout(like)
        if stamp["layout"] != expected:
            changed = [pair for pair in zip(stamp["layout"], expected, strict=False) if pair[0] != pair[1]]
            detail = f"{changed[0][0]} became {changed[0][1]}" if changed else "another number of arrays"
            raise RunError(f"checkpoint {step} is of another program ({detail}); use --overwrite.")
        target = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding), leaves.storable(like)
        )
        stored = manager.restore(step, args=ocp.args.Composite(state=ocp.args.StandardRestore(target))).state
        parts, structure = jax.tree.flatten(like)
        parts = [leaves.revived(stored.get(leaves.name(i)), leaf) for i, leaf in enumerate(parts)]
        state = jax.tree.unflatten(structure, parts)
        total = checksum.of(map(leaves.raw, jax.tree.leaves(state)))
        if leaves.layout(state) != expected or total != stamp["checksum"]:
            raise ValueError("its checksum is wrong")
        return state

    def _steps_on_disk(self) -> list[int]:
        if not self._folder.is_dir():
            return []
        return [int(entry.name) for entry in self._folder.iterdir() if entry.name.isdecimal()]

    def _drop(self, step: int) -> None:
        """Removes a damaged checkpoint, so that this step can be saved again."""
        if self._manager is not None:  # orbax keeps its own list of steps
            self._manager.close()
            self._manager = None
        if hosts.index() == 0:
            shutil.rmtree(self._folder / str(step), ignore_errors=True)
        hosts.agree([0])  # nobody looks before it is gone

    def _open(self) -> Any:
        if self._manager is None:
            import orbax.checkpoint as ocp

            quieten()
            options = ocp.CheckpointManagerOptions(
                max_to_keep=KEEP,
                create=True,
                # Where no folder can be made, threads that wait for one would keep the process alive for five minutes.
                async_options=ocp.options.AsyncOptions(create_directories_asynchronously=False),
            )
            self._manager = ocp.CheckpointManager(self._folder, options=options)
        return self._manager


@functools.cache
def quieten() -> None:
    """orbax tells its every step, and a full disk several times over from its threads; we tell it in one line."""
    for name in ("absl", "asyncio", "concurrent.futures"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    former = sys.unraisablehook

    def hook(unraisable):
        # A write that fails late reports to the event loop of a save that has been given up.
        if not (isinstance(unraisable.exc_value, RuntimeError) and "loop is closed" in str(unraisable.exc_value)):
            former(unraisable)

    sys.unraisablehook = hook


def read_stamp(manager, step: int) -> dict[str, Any]:
    """Step, layout and checksum, as they were saved. Raises ValueError where they are damaged."""
    import orbax.checkpoint as ocp

    stamp = dict(manager.restore(step, args=ocp.args.Composite(stamp=ocp.args.JsonRestore())).stamp)
    if stamp.pop("own_crc32", None) != leaves.text_crc32(stamp):
        raise ValueError("its stamp is damaged")
    return stamp


def first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__)[:200]
