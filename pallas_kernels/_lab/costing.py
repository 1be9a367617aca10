"""`compile_for` and `cost`: a function, abstract arguments and a target in, a report out."""

import functools
import json
import math
from collections.abc import Callable

from pallas_kernels._lab import assemble, cache, gpu, gpu_targets, process
from pallas_kernels._lab.chips import Target
from pallas_kernels._lab.chips import target as parse_target
from pallas_kernels._lab.export import Program, export
from pallas_kernels._lab.report import LabError, Report, from_json, to_json

__all__ = ["SECONDS", "compile_for", "cost"]

#: That one attempt of the compiler may take.
SECONDS = 600.0


def compile_for(
    fn: Callable, args: tuple, target: str | Target, mesh=None, *, fresh: bool = False, timeout: float = SECONDS
) -> Report | gpu.GpuReport:
    """Compiles `fn(*args)` for devices that are not there: does it compile, fit, and communicate how much.

    Args:
      fn: jittable, pure; its implementations for TPU are taken where it has several.
      args: pytrees of `jax.ShapeDtypeStruct` (or arrays), with shardings over `mesh` where there is one.
      target: "v5e" for one device, "v5e:16x16" for a slice (`chips.target` for several slices), "h100" for GPUs (as
        many as the mesh has) through the optional compiler of `gpu.available`.
      mesh: the mesh that `fn` is sharded over, as large as the target; None for one device.
      fresh: compile even if the same was compiled before.
      timeout: seconds for each attempt.

    Returns:
      a report whose `method` is "none": no operation has simulated cycles. A program that does not fit has `why_not`.
      For a GPU a `GpuReport`: registers, spills, shared memory and occupancy of each kernel.

    Raises:
      LabError: unknown target, an argument without a fixed shape, a function that cannot be traced or lowered, a mesh
        of another size, no compiler.
    """
    if target in gpu_targets.TARGETS:
        return _for_gpu(fn, args, target, mesh, fresh, timeout)
    return _cached(fn, args, target, mesh, "compile", _compile_only, fresh, timeout)


def cost(
    fn: Callable,
    args: tuple,
    target: str | Target,
    mesh=None,
    *,
    in_hbm: bool = False,
    fresh: bool = False,
    timeout: float = SECONDS,
) -> Report:
    """`compile_for` with the compiler's simulation of its final schedule: cycles, bundles, units, spills.

    The simulator has no model for some programs and then ends the process. So it is asked in turn for the program as
    compiled, for the program with its arrays kept in HBM, and for each Pallas kernel alone; `Report.method` says which
    answered, and `caveats` why the ones before did not.

    With `in_hbm` the first is left out: what arrays cost that are small here and would not stay on the chip at the size
    they stand for.

    Other arguments and errors as `compile_for`. Chips without a simulation (v4) get what the compiler's dumps and its
    quick model tell. No compiler for GPUs simulates them: for those ask `compile_for`.
    """
    if target in gpu_targets.TARGETS:
        raise LabError(
            f"target {target} has no simulation of cycles; compile_for tells registers, spills and occupancy."
        )
    question = "cost in HBM" if in_hbm else "cost"
    return _cached(fn, args, target, mesh, question, functools.partial(_simulate, on_chip=not in_hbm), fresh, timeout)


def _cached(fn, args, target, mesh, question, answer, fresh, timeout) -> Report:
    target = parse_target(target) if isinstance(target, str) else target
    compiler = process.compiler()
    program = export(fn, args, mesh=mesh)
    devices = math.prod(size for _, size in program.axes)
    if devices != target.devices:
        raise LabError(
            f"target {target} has {target.devices} devices, and the mesh of fn {program.name} has {devices}."
        )
    name = cache.key(question, program.digest, str(target), compiler)
    found = None if fresh else cache.load(name, from_json)
    if found is None:
        found = answer(program, target, compiler, timeout)
        cache.store(name, to_json(found))
    return found


def _for_gpu(fn, args, target, mesh, fresh, timeout) -> gpu.GpuReport:
    compiler = gpu.compiler()
    program = export(fn, args, platform="cuda", mesh=mesh)
    name = cache.key("compile", program.digest, target, compiler)
    found = None if fresh else cache.load(name, lambda text: gpu.from_plain(json.loads(text)))
    if found is None:
        found = gpu.compile(
            program.blob, name=program.name, target=target, axes=program.axes, donated=program.donated, timeout=timeout
        )
        cache.store(name, json.dumps(gpu.to_plain(found)))
    return found


def _compile_only(program, target, compiler, timeout) -> Report:
    with process.compiled(program, target, timeout=timeout) as outcome:
        return _report(program, target, compiler, outcome)


def _simulate(program, target, compiler, timeout, *, on_chip) -> Report:
    if not target.chip.simulated:
        return _unsimulated(program, target, compiler, timeout)
    base, refusals = None, []
    for method, in_hbm in (("simulated", False), ("simulated in HBM", True))[not on_chip :]:
        with process.compiled(program, target, timeout=timeout, profile=True, in_hbm=in_hbm) as outcome:
            if outcome.died:
                refusals.append(f"{method}: the profiler ended with {outcome.died}")
                # It may have ended after the last operation, with every estimate written.
                with process.compiled(program, target, timeout=timeout, in_hbm=in_hbm) as plain:
                    outcome = plain._replace(cycles=outcome.cycles, folder=outcome.folder)
                    report = _report(program, target, compiler, outcome)
            else:
                report = _report(program, target, compiler, outcome)
        if not report.fits:
            return report._replace(caveats=(*report.caveats, *refusals))
        base = base or report
        if all(operation.simulated or operation.cycles is None for operation in report.operations):
            return _with_cycles(report._replace(memory=base.memory), target, method, refusals)
    report = _kernels_alone(program, target, report, timeout, refusals)
    return _with_cycles(report._replace(memory=base.memory), target, "kernels simulated", refusals)


def _kernels_alone(program, target, report, timeout, refusals) -> Report:
    """XLA's operations by the compiler's quick model, each distinct kernel simulated by itself, all in HBM."""
    operations = {operation.name: operation for operation in report.operations}
    for name in assemble.kernel_names(report.operations):
        if operations[name].simulated:
            continue
        with process.compiled(program, target, timeout=timeout, profile=True, in_hbm=True, only=name) as alone:
            operations[name] = assemble.dumped(operations[name], alone.cycles, alone.folder)
        if not operations[name].simulated:
            refusals.append(f"kernel {name} is not simulated: {alone.died or 'the compiler wrote no profile'}")
    return report._replace(operations=tuple(operations.values()))


def _unsimulated(program, target, compiler, timeout) -> Report:
    why = f"{target.chip.name} has no simulated cycles: the compiler's profiler has no model of its memory"
    with process.compiled(program, target, timeout=timeout, dump=True) as outcome:
        report = _report(program, target, compiler, outcome)
    return report._replace(caveats=(*report.caveats, why))


def _report(program: Program, target: Target, compiler: str, outcome) -> Report:
    """Everything but the sum of cycles."""
    result = outcome.result or {}
    make = functools.partial(
        Report,
        target=str(target),
        devices=target.devices,
        compiler=compiler,
        program=program.digest,
        flops=program.counts.flops,
        passes=program.counts.passes,
        clock=target.chip.clock,
        cycles=None,
        method="none",
        lower_seconds=program.seconds + result.get("lower_seconds", 0.0),
        compile_seconds=result.get("compile_seconds", 0.0),
        host_bytes=result.get("host_bytes", 0),
    )
    why_not = outcome.died or result.get("error")
    if why_not:
        return make(why_not=why_not, memory=None, missing=result.get("missing", 0), operations=(), collectives=(),
                    bytes=0.0, roofline=None, caveats=())  # fmt: skip
    found = assemble.contents(outcome.text, outcome.cycles, outcome.folder)
    memory = assemble.memory(result["memory"], target)
    missing = max(0, memory.total - memory.available)
    num_bytes = float(assemble.traffic(outcome.text))
    return make(
        why_not=f"HBM: {memory.total} bytes needed, {memory.available} available" if missing else None,
        memory=memory,
        missing=missing,
        operations=found.operations,
        collectives=found.collectives,
        bytes=num_bytes,
        roofline=assemble.roofline(program, num_bytes, found.collectives, target),
        caveats=(*_caveats(program), *found.caveats),
    )


def _with_cycles(report: Report, target: Target, method, refusals) -> Report:
    """Adds up the operations' cycles; one that nothing estimates is charged what its bytes need."""
    caveats = [*report.caveats, *refusals]
    silent = [operation for operation in report.operations if operation.cycles is None]
    if silent:
        names = _listed([operation.name for operation in silent])
        caveats.append(f"without an estimate, charged the HBM time of their bytes: {names}")
    total = sum(o.calls * (target.chip.cycles(o.bytes) if o.cycles is None else o.cycles) for o in report.operations)
    if report.collectives:
        caveats.append("collectives are in the roofline (bytes over links), not in the cycles")
    if target.slices > 1:
        caveats.append("the network between slices is taken to be as fast as the links within one")
    return report._replace(cycles=float(total), method=method, caveats=tuple(dict.fromkeys(caveats)))


def _caveats(program: Program) -> list[str]:
    found = []
    if program.counts.unknown_loops:
        found.append(f"flops: {program.counts.unknown_loops} loops of unknown length are counted once")
    if program.counts.double:
        found.append("float64 is emulated on a TPU; flops count each operation once")
    return found


def _listed(names: list[str], most: int = 6) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
