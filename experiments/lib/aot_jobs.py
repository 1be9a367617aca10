"""Compilations for devices that are not there, each described by plain values and done in another process.

A job names what to compile and for what; `run` does several at a time. Workers are processes because a program's
numerics are settings of a whole process, and because the end of the command must be the end of every compiler.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING, Any, NamedTuple

from experiments.lib import backend, signals
from experiments.lib import config as config_lib
from experiments.lib import mesh as mesh_lib
from experiments.lib.command import one_line
from experiments.lib.errors import RunError, UsageError

if TYPE_CHECKING:
    from pallas_kernels._lab.case import Case
    from pallas_kernels._lab.chips import Target
    from pallas_kernels._lab.gpu import GpuReport
    from pallas_kernels._lab.report import Report

__all__ = ["Answer", "Gpus", "KernelJob", "ProgramJob", "case_of", "parse_target", "perform", "run"]


class Gpus(NamedTuple):
    """GPUs to compile for; `h100` is one, `h100:8` eight that are joined."""

    name: str
    devices: int

    def __str__(self):
        return self.name if self.devices == 1 else f"{self.name}:{self.devices}"


class ProgramJob(NamedTuple):
    """The chunk of an experiment, sharded over a target.

    Attributes:
      reference, overrides: the config, as `config_lib.resolve` takes them.
      target: what the command line calls it, and how many slices of it.
      mesh: as `mesh_lib.parse` gives it.
      impl: which implementation every operation is traced with; None for the best on the target.
      simulate: whether cycles are asked for, or only that it compiles.
      fresh: compile even what was compiled before.
      limit: seconds that the compiler may take for each attempt; tracing comes before.
    """

    reference: str
    overrides: dict[str, Any]
    target: tuple[str, int]
    mesh: dict[str, int]
    impl: str | None = None
    simulate: bool = True
    fresh: bool = False
    limit: float = 600.0

    def __str__(self):
        return f"{self.reference} on {parse_target(*self.target)}" + (f" by {self.impl}" if self.impl else "")


class KernelJob(NamedTuple):
    """A case of a kernel on one device.

    Attributes:
      kernel, case: names.
      target: as in `ProgramJob`.
      impl: "kernel", or "xla" for the case's peer.
      point: position in the kernel's `sweep()`; None for one of its `cases()`.
      simulate, fresh, limit: as in `ProgramJob`.
    """

    kernel: str
    case: str
    target: tuple[str, int]
    impl: str = "kernel"
    point: int | None = None
    simulate: bool = True
    fresh: bool = False
    limit: float = 600.0

    def __str__(self):
        return f"{self.kernel}, case {self.case} on {parse_target(*self.target)}" + (" by xla" * (self.impl == "xla"))


class Answer(NamedTuple):
    """What came of a job: a report, or why there is none."""

    job: ProgramJob | KernelJob
    report: Report | GpuReport | None
    why_not: str | None

    @property
    def problem(self) -> str | None:
        """Why it does not compile or fit, in one line."""
        return self.why_not if self.report is None else self.report.why_not


def parse_target(text: str, slices: int = 1) -> Target | Gpus:
    """Raises UsageError for what nobody makes or rents, with a list of what there is."""
    from pallas_kernels import _lab
    from pallas_kernels._lab import gpu_targets

    name, colon, rest = text.partition(":")
    if name in gpu_targets.TARGETS:
        if (colon and not rest.isdecimal()) or rest == "0" or slices != 1:
            raise UsageError(f"--topology={text}: GPUs are {name} or, eight of them, {name}:8; they have no slices.")
        return Gpus(name, int(rest or 1))
    if name not in _lab.CHIPS:
        raise UsageError(
            f"--topology={text}: no such chip; there are {', '.join(_lab.CHIPS)} (v5e: one device, v5e:16x16: a slice) "
            f"and {', '.join(gpu_targets.TARGETS)}."
        )
    try:
        return _lab.target(text, slices)
    except _lab.LabError as error:
        raise UsageError(f"--topology={text}: {one_line(error)}") from error


def case_of(job: KernelJob) -> Case:
    from pallas_kernels import _discover

    listed = _discover.load(job.kernel, "cases")
    if job.point is not None:
        return list(listed.sweep())[job.point][2]
    return next(case for case in listed.cases() if case.name == job.case)


def perform(job: ProgramJob | KernelJob) -> Answer:
    """Does one job in this process; whatever stops it is the answer."""
    try:
        report = _program(job) if isinstance(job, ProgramJob) else _kernel(job)
    except Exception as error:
        plain = isinstance(error, ValueError | NotImplementedError | RunError | UsageError)
        return Answer(job, None, one_line(error) if plain else f"{type(error).__name__}: {one_line(error)}")
    except SystemExit as end:  # compilers have been ended on the way here; other jobs of this worker must not start
        os._exit(end.code)
    return Answer(job, report, None)


def _program(job: ProgramJob):
    from pallas_kernels._dispatch import forced

    resolved = config_lib.resolve(job.reference, job.overrides)
    backend.configure(resolved.config.numerics, compile_cache="off")
    target = parse_target(*job.target)
    mesh = mesh_lib.abstract(job.mesh, target.devices, str(target))
    with forced(job.impl):
        program = importlib.import_module(f"experiments.{resolved.config.experiment}").program(resolved.config, mesh)
        return _compiled(job, program.advance, program.abstract_args, target, mesh)


def _kernel(job: KernelJob):
    from pallas_kernels._lab import marginal

    case, target = case_of(job), parse_target(*job.target)
    if job.simulate and not isinstance(target, Gpus):
        return marginal.cost(case, job.impl, target, fresh=job.fresh, timeout=job.limit)
    fn, args, _ = case.side(job.impl)
    return _compiled(job, fn, args, target, None)


def _compiled(job, fn, args, target, mesh):
    from pallas_kernels import _lab

    options = {"fresh": job.fresh, "timeout": job.limit}
    if isinstance(target, Gpus):
        return _lab.compile_for(fn, args, target.name, mesh, **options)
    return (_lab.cost if job.simulate else _lab.compile_for)(fn, args, target, mesh, **options)


def run(jobs: Sequence[ProgramJob | KernelJob], processes: int) -> Iterator[Answer]:
    """Answers in the order of the jobs, each as soon as it and all before it are there.

    Raises:
      Interrupted: by a signal; every compiler has been ended.
      RunError: a worker was killed.
    """
    before = set(multiprocessing.active_children())
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(processes, len(jobs)), mp_context=context, initializer=_prepare_worker)
    try:
        with signals.Notice().installed():
            yield from pool.map(perform, jobs)
    except BrokenProcessPool as error:
        raise RunError("a worker was killed, most likely for want of host memory: try --jobs=1.") from error
    except BaseException:
        for child in set(multiprocessing.active_children()) - before:
            child.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _prepare_worker() -> None:
    # Ctrl-C reaches every process of the terminal: the command hears it, and ends its workers one by one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    backend.prepare_environment()
    os.environ["JAX_PLATFORMS"] = "cpu"  # nothing is run, whatever devices there are
