"""SIGTERM and SIGINT as a notice: finish the chunk, save, leave. A second one, a while later, leaves at once."""

import contextlib
import signal
import threading
import time
from collections.abc import Iterator

from experiments.lib.errors import Interrupted

__all__ = ["Notice"]

#: A signal to a process group comes twice to a process whose launcher passes it on: within so many seconds it is the
#: same notice.
_SAME_SECONDS = 2.0


class Notice:
    """Remembers the signal that asked this process to end.

    Outside of `deferred()` the signal raises `Interrupted` where the program stands; inside, it is kept until the
    program asks for it at a point where its state can be saved.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._since = 0.0
        self._deferring = False

    @contextlib.contextmanager
    def installed(self) -> Iterator["Notice"]:
        """Handles both signals and puts the former handlers back; outside of the main thread it does nothing."""
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        former = {number: signal.signal(number, self._handle) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield self
        finally:
            for number, handler in former.items():
                signal.signal(number, handler)

    @contextlib.contextmanager
    def deferred(self) -> Iterator["Notice"]:
        """Keeps the first signal until `received` is read."""
        self._deferring = True
        try:
            yield self
        finally:
            self._deferring = False

    def _handle(self, number: int, frame) -> None:
        again = self.received is not None
        if again and time.monotonic() - self._since < _SAME_SECONDS:
            return
        self.received, self._since = number, time.monotonic()
        if again or not self._deferring:
            raise Interrupted(number)
