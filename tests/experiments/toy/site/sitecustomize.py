"""Read by every process of a test that has this folder on its PYTHONPATH: makes the toy an experiment like any other.

TOY_GATE=folder: a run that has logged step TOY_GATE_STEP leaves a file `<process>:<run>` in the folder, and waits while
there is one that is called `closed`.
TOY_KILLED=folder:n: a process is killed in the middle of its n-th write; one that ends leaves a file in the folder that
is called as many as its writes were.
"""

import atexit
import os
import sys
import time
import types
from pathlib import Path

toy = sys.modules["experiments.toy"] = types.ModuleType("experiments.toy")
toy.__path__ = [str(Path(__file__).parents[1])]


def _hold(gate: Path, at: int) -> None:
    from experiments.lib import recorder

    log = recorder.Recorder.log

    def held(self, step, metrics):
        log(self, step, metrics)
        if step == at:
            (gate / f"{os.getpid()}:{self.path.name}").touch()
            while (gate / "closed").exists():
                time.sleep(0.01)

    recorder.Recorder.log = held


if "TOY_GATE" in os.environ:
    _hold(Path(os.environ["TOY_GATE"]), int(os.environ["TOY_GATE_STEP"]))
if "TOY_KILLED" in os.environ:
    from experiments.toy import killed

    folder, fatal = os.environ["TOY_KILLED"].split(":")
    killed.install(int(fatal))
    atexit.register(lambda: killed.writes and Path(folder, str(killed.writes)).touch())
