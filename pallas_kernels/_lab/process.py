"""Starts the child process with the compiler's flags, and keeps what it left."""

import importlib.metadata
import importlib.util
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from pallas_kernels._lab import schedule
from pallas_kernels._lab.chips import Target
from pallas_kernels._lab.export import Program
from pallas_kernels._lab.report import LabError

__all__ = ["Outcome", "compiled", "compiler"]

#: Without the first, two processes that load the compiler disturb each other; the others keep it from asking a
#: metadata server and from writing logs on a machine without a TPU.
_ENVIRONMENT = {
    "JAX_PLATFORMS": "cpu",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_WORKER_ID": "0",
    "TPU_LOG_DIR": "disabled",
    "JAX_ENABLE_COMPILATION_CACHE": "false",  # what comes from a cache leaves no dumps
}
#: Ends that say nothing of the program; the profiler and the compiler end themselves by other signals.
_STOPPED = (signal.SIGINT, signal.SIGKILL, signal.SIGTERM)
_IN_HBM = [f"--xla_{family}_vmem_memory_space_assignment=false" for family in ("vf", "gf")]


class Outcome(NamedTuple):
    """What a child left.

    Attributes:
      result: its answer, None if it died.
      died: why it died, in one line.
      text: the compiled program.
      cycles: simulated, by operation; empty without `profile`.
      folder: the dumps, until the context ends.
    """

    result: dict[str, Any] | None
    died: str
    text: str
    cycles: dict[str, int]
    folder: pathlib.Path


def compiler() -> str:
    """Name and version of the TPU compiler. Raises LabError where it is not installed."""
    if importlib.util.find_spec("libtpu") is None:
        raise LabError("the TPU compiler (libtpu) is not installed: pip install -e '.[tpu]' (Linux x86-64).")
    return f"libtpu {importlib.metadata.version('libtpu')}"


@contextmanager
def compiled(
    program: Program,
    target: Target,
    *,
    timeout: float,
    profile: bool = False,
    dump: bool = False,
    in_hbm: bool = False,
    only: str = "",
) -> Iterator[Outcome]:
    """Compiles in a child process.

    Args:
      program: exported for a TPU.
      target: its devices must be as many as the program's.
      profile: simulate the final schedule, and dump it.
      dump: dump the final schedule.
      in_hbm: keep every array in HBM between operations, for the simulator's sake.
      only: simulate the operation of this name alone; "" for all.
      timeout: seconds.

    Raises:
      LabError: no compiler, or it ran out of time, or somebody ended it.
    """
    compiler()
    with tempfile.TemporaryDirectory(prefix="lab-") as name:
        folder = pathlib.Path(name)
        flags = schedule.profile_flags(folder) if profile else []
        flags += schedule.dump_flags(folder) if profile or dump else []
        flags += _IN_HBM if in_hbm else []
        flags += [f"--xla_jf_dump_only_matching_hlo={only}"] if only else []
        request = {
            "topology": target.topology,
            "options": {"num_slices": target.slices} if target.slices > 1 else {},
            "axes": program.axes,
            "donated": program.donated,
        }
        (folder / "request.json").write_text(json.dumps(request))
        (folder / "program.bin").write_bytes(program.blob)
        environment = os.environ | _ENVIRONMENT | {"LIBTPU_INIT_ARGS": " ".join(flags)}
        for unwanted in ("XLA_FLAGS", "TPU_LIBRARY_PATH"):  # other flags, or another compiler than the report will name
            environment.pop(unwanted, None)
        line = [sys.executable, "-m", "pallas_kernels._lab.child", name]
        root = pathlib.Path(__file__).resolve().parents[2]
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH", "")]))
        try:
            done = subprocess.run(line, env=environment, cwd=name, capture_output=True, text=True, timeout=timeout)
        except subprocess.TimeoutExpired as error:
            raise LabError(
                f"{program.name} on {target}: the compiler did not finish within {timeout:.0f} s."
            ) from error
        if -done.returncode in _STOPPED:
            name = signal.Signals(-done.returncode).name
            raise LabError(f"{program.name} on {target}: the compiler was ended by {name}: by the user, or for want of "
                           "host memory.")  # fmt: skip
        answer, text = folder / "result.json", folder / "compiled.txt"
        yield Outcome(
            json.loads(answer.read_text()) if answer.exists() else None,
            "" if answer.exists() else _last_words(done.stderr, done.returncode),
            text.read_text() if text.exists() else "",
            schedule.cycles(folder) if profile else {},
            folder,
        )


def _last_words(stderr: str, code: int) -> str:
    """Why a child died: the profiler's or the compiler's fatal line, else its signal, else a traceback's last line."""
    fatal = re.search(r"^F\d+ .*?\] (.*)$", stderr, re.MULTILINE)
    if fatal:
        return " ".join(fatal[1].split())[:300]
    if code < 0:
        return signal.Signals(-code).name
    lines = [line for line in stderr.splitlines() if line.strip()]
    return f"{lines[-1].strip()[:300] if lines else 'no message'} (exit code {code})"
