"""The toy experiment, killed in the middle of its n-th write: python killed.py [flags of walk.py] N.

Every write of a run goes through one of the functions replaced here. The fatal one is carried out by half.
With N = 0 nothing is killed, and the number of writes is printed last.
"""

import os
import runpy
import signal
import sys
from pathlib import Path

from experiments.lib import checkpoint, files, journal, rows

writes = 0


def install(fatal: int) -> None:
    """This process will be killed in the middle of that write."""
    save = checkpoint.Checkpoints.save
    files.replace = _counted(fatal, files.replace, _torn_temporary)
    journal.Journal.append = _counted(fatal, journal.Journal.append, _torn_row)
    rows.append = _counted(fatal, rows.append, _torn_line)
    checkpoint.Checkpoints.save = _counted(fatal, save, save)  # the write goes on in orbax's threads when it is killed


def _counted(fatal, function, half):
    def call(*args, **kwargs):
        global writes
        writes += 1
        if writes == fatal:
            half(*args, **kwargs)
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*args, **kwargs)

    return call


def _torn_temporary(path, content):
    content = content.encode() if isinstance(content, str) else content
    path.with_name(f".{path.name}.{os.getpid()}.tmp").write_bytes(content[: len(content) // 2])


def _torn_row(self, row):
    content = journal._encode(row)
    with open(self.path, "ab") as file:
        file.write(content[: len(content) // 2])


def _torn_line(path, row):
    line = rows.text(row)
    with open(path, "a") as file:
        file.write(line[: len(line) // 2])


if __name__ == "__main__":
    last = int(sys.argv.pop())
    install(last)
    try:
        runpy.run_path(str(Path(__file__).with_name("walk.py")), run_name="__main__")
    finally:
        if last == 0:
            print(writes)
