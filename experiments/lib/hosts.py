"""Several processes that are one run, usually one on each host of a slice: how they meet, and what they agree on.

Every process runs the same program on the same global arrays, so that whatever decides what comes next (a signal, a
clock, a file that cannot be read) has to be decided by all of them alike: one that went another way would leave the
others waiting in a collective. The first process writes the run directory; all write checkpoints. Of one process alone
everything here is a matter of course, and nothing imports jax.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from experiments.lib.command import told
from experiments.lib.errors import RunError, Stop, UsageError

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Meeting", "agree", "count", "from_first", "in_turn", "index", "leave", "local", "meet", "meeting", "settle"]

T = TypeVar("T")

_place = (0, 1)  # index of this process, and how many there are
_TEXT_BYTES = 1024


class Meeting(NamedTuple):
    """Where the processes of a run meet; what is None is asked of the cluster.

    Attributes:
      coordinator: `host:port` of the first process.
      processes: how many there are, >= 2.
      process: index of this one.
      seconds: for which they wait for one another; one that says nothing for so long (at most 100) is taken for dead.
    """

    coordinator: str | None
    processes: int | None
    process: int | None
    seconds: int


def meeting(coordinator: str, process: str, seconds: int) -> Meeting:
    """A meeting from flags.

    Args:
      coordinator: "host:port", or "" where the cluster (a TPU slice, SLURM, MPI) says it.
      process: "i/n", or "" likewise; both are given or none.

    Raises:
      UsageError: one of them without the other, or not of its form.
    """
    if bool(coordinator) != bool(process):
        raise UsageError("--coordinator and --process are given together, or both are left to the cluster.")
    if not coordinator:
        return Meeting(None, None, None, seconds)
    host, _, port = coordinator.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise UsageError(f"--coordinator must be host:port, got {coordinator!r}.")
    which, _, total = process.partition("/")
    if not (which.isdecimal() and total.isdecimal() and int(which) < int(total) and int(total) > 1):
        raise UsageError(f"--process must be i/n with 0 <= i < n and n > 1, got {process!r}.")
    return Meeting(coordinator, int(total), int(which), seconds)


def meet(where: Meeting) -> None:
    """Starts jax's distributed runtime; must come after jax is configured and before any array.

    Where the others do not come in time, this process ends with one line and exit code 1: the runtime would abort.

    Raises:
      RunError: no cluster tells where to meet, or it is a cluster of one process.
    """
    global _place
    import jax

    def gave_up():
        told(RunError(f"--distributed: {_waited_for(where)}, waited {where.seconds} s (--distributed_seconds)."))
        os._exit(RunError.exit_code)

    watch = threading.Timer(where.seconds, gave_up)
    watch.daemon = True
    watch.start()
    try:
        jax.distributed.initialize(
            where.coordinator, where.processes, where.process, initialization_timeout=where.seconds + 30,
            heartbeat_timeout_seconds=min(where.seconds, 100),
        )  # fmt: skip
    except (ValueError, RuntimeError) as error:
        text = " ".join(str(error).split())
        raise RunError(
            f"--distributed: no cluster tells where to meet ({text}); give --coordinator=host:port and --process=i/n."
        ) from error
    finally:
        watch.cancel()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.getsignal(number))  # the runtime has put its own handler in place of ours
    _place = (jax.process_index(), jax.process_count())
    if count() == 1:
        raise RunError("--distributed found one process alone; leave it out where there is one host.")


def _waited_for(where: Meeting) -> str:
    from jax._src import distributed  # only the runtime knows what the cluster told it

    state = distributed.global_state
    address = where.coordinator or state.coordinator_address or "an unknown address"
    which = state.process_id if where.process is None else where.process
    total = state.num_processes if where.processes is None else where.processes
    host, _, port = address.rpartition(":")
    try:
        numbers = sorted({found[4][0] for found in socket.getaddrinfo(host.strip("[]"), port)})
        tried = f"{address} ({', '.join(numbers)})"
    except OSError as error:
        tried = f"{address} ({error.strerror})"
    if which == 0:
        return f"not all of the {total} processes came to {tried}"
    return f"process {which} of {total} found no coordinator with all others at {tried}"


def leave(code: int, *, together: bool) -> int:
    """Ends the meeting and returns `code`.

    Args:
      together: whether all end here; otherwise this process ends at once and waits for nobody, and the others with it.
    """
    if count() == 1:
        return code
    import jax

    if together:
        jax.distributed.shutdown()
        return code
    sys.stdout.flush()
    sys.stderr.flush()
    if index() == 0:
        time.sleep(1)  # without the first the runtime aborts the others: they may tell their own lines before
    os._exit(code)


def index() -> int:
    """Index of this process."""
    return _place[0]


def count() -> int:
    """How many processes the run has."""
    return _place[1]


def agree(values: Sequence[int]) -> np.ndarray:
    """What every process says, int32 `[processes, len(values)]`; all must ask, with equally many values."""
    import numpy as np

    mine = np.asarray(values, np.int32)
    if count() == 1:
        return mine[None]
    from jax.experimental import multihost_utils

    return np.asarray(multihost_utils.process_allgather(mine)).reshape(count(), -1)


def _texts(text: str) -> list[str]:
    content = text.encode()[:_TEXT_BYTES]
    said = agree([len(content), *content, *bytes(_TEXT_BYTES - len(content))])
    return [bytes(row[1 : 1 + row[0]].tolist()).decode(errors="ignore") for row in said]


def from_first(text: str) -> str:
    """What the first process says, at most 1,024 bytes."""
    return text if count() == 1 else _texts(text)[0]


def settle(problem: BaseException | None) -> None:
    """Raises in every process if any of them has a problem: its own, or one that names the first that has.

    Raises:
      RunError: another process has a problem.
    """
    if count() > 1:
        said = _texts("" if problem is None else str(problem) or type(problem).__name__)
        if problem is None and any(said):
            which = next(i for i, text in enumerate(said) if text)
            raise RunError(f"process {which}: {said[which]}")
    if problem is not None:
        raise problem


def in_turn(first: Callable[[], T], others: Callable[[], T]) -> T:
    """`first()` in the first process, then `others()` in all others; what fails in one of them ends all.

    Raises:
      RunError: another process failed.
    """
    found, problem = None, None
    for turn, act in ((True, first), (False, others)):
        if (index() == 0) is turn:
            try:
                found = act()
            except (Stop, OSError, ValueError) as error:
                problem = error
        settle(problem)
    return found


def local(tree: Any) -> Any:
    """The tree with leaves that are split over `rep` whole in every process, as arrays of its own devices.

    What is split over other axes stays global: a program that names those axes knows what to do with it.
    """
    if count() == 1:
        return tree
    import jax
    from jax.experimental import multihost_utils

    def whole(leaf):
        if not isinstance(leaf, jax.Array) or leaf.is_fully_addressable or leaf.is_fully_replicated:
            return leaf
        if "rep" not in jax.tree.leaves(tuple(getattr(leaf.sharding, "spec", ()))):
            return leaf
        if not jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return jax.numpy.asarray(multihost_utils.process_allgather(leaf, tiled=True))
        numbers = multihost_utils.process_allgather(jax.random.key_data(leaf), tiled=True)
        return jax.random.wrap_key_data(jax.numpy.asarray(numbers), impl=jax.random.key_impl(leaf))

    return jax.tree.map(whole, tree)
