"""What a program would do on TPUs and GPUs that are not there: does it fit, how long would it take, what bounds it.

    python -m experiments.aot --config=configs/regret/medical_pod.py --topology=v5e:16x16
    python -m experiments.aot --config=configs/regret/medical_pod.py --topology=v5e:16x16,v5e:16x16,v5p:16x20x28 \\
        --slices=1,4,1 --config.run.replicates=35840 --compile_only
    python -m experiments.aot --kernel=prequential_ridge --compare=xla
    python -m experiments.aot --kernel=prequential_ridge --sweep_blocks --write
    python -m experiments.aot --all --only=regret,balancing/gap

Compiles the very chunk that the experiment runs, sharded over a mesh as large as the topology, and reads the compiler's
schedule. Needs the compiler's wheel (extra tpu; make gpu-lab for GPUs) and no device. Several configs and topologies
give a line each; --all is every configs/*/*_pod.py on a v5e pod, a v6e pod and two of v5e, compiled and not simulated
(--nocompile_only for both). What was compiled before is looked up (--fresh for anew). Exit codes: 0 everything fits;
1 something does not, or cannot be compiled; 2 usage.
"""

import itertools
import math
import os
import sys
from collections.abc import Sequence

from absl import flags

from experiments.lib import backend, pods
from experiments.lib import config as config_lib
from experiments.lib import mesh as mesh_lib
from experiments.lib.command import helped, parse, told
from experiments.lib.errors import RunError, Stop, UsageError

__all__ = ["main"]

_POD = "v5e:16x16"
_CHIPS = "v5e,v5p,v6e,tpu7x"


def _flags() -> flags.FlagValues:
    values = flags.FlagValues()
    text, switch = flags.DEFINE_string, flags.DEFINE_boolean
    flags.DEFINE_multi_string("config", [], "Config file, path.py or path.py:arg; may be given several times. "
                              "--config.field=value changes a field of all of them.", flag_values=values)  # fmt: skip
    switch("all", False, "Every pod config, each with as much for a chip as on the 256 that it is meant for.",
           flag_values=values)  # fmt: skip
    text("only", "", "With --all: families, or configs like balancing/gap, separated by commas, in this order.",
         flag_values=values)  # fmt: skip
    text("kernel", "", "A kernel of pallas_kernels instead of a config: its cases, on one device.", flag_values=values)
    text("case", "", "With --kernel: this case alone.", flag_values=values)
    text("topology", "", f"Chips, separated by commas: {_POD} (default), v5e for one device, h100, h100:8. "
         f"With --kernel: {_CHIPS}.", flag_values=values)  # fmt: skip
    text("slices", "1", "Slices joined by the slower network: one number, or one for each topology.",
         flag_values=values)  # fmt: skip
    text("mesh", "", "Devices by axis, such as rep:-1 or rep:-1,data:4; -1 is the rest. By default the MESH of the "
         "config's file, or rep:-1.", flag_values=values)  # fmt: skip
    flags.DEFINE_enum("compare", "", ["", "xla"], "Beside it, the same without Pallas kernels.", flag_values=values)
    switch("compile_only", None, "Only whether it compiles and fits: no simulation, no times.", flag_values=values)
    switch("sweep_blocks", False, "Cost a kernel at every block size of its sweep().", flag_values=values)
    switch("write", False, "With --sweep_blocks: write the best into pallas_kernels/tuned. With --all: put the rows "
           "into configs/README.md.", flag_values=values)  # fmt: skip
    switch("details", False, "Everything about each program, even where there are several.", flag_values=values)
    text("json", "", 'File for the whole reports; "-" for stdout, instead of the tables.', flag_values=values)
    text("csv", "", 'File for one row per report; "-" for stdout, instead of the tables.', flag_values=values)
    flags.DEFINE_integer("jobs", min(2, os.cpu_count() or 1), "Compilations at a time.", lower_bound=1,
                         flag_values=values)  # fmt: skip
    flags.DEFINE_float("limit_seconds", 600.0, "What takes the compiler longer is given up.", lower_bound=1.0,
                       flag_values=values)  # fmt: skip
    switch("fresh", False, "Compile anew what was compiled before.", flag_values=values)
    return values


def main(arguments: Sequence[str] | None = None) -> int:
    """Does what the command line says; returns the exit code."""
    values = _flags()
    arguments = sys.argv[1:] if arguments is None else arguments
    if helped(arguments, __doc__, values):
        return 0
    try:
        overrides = parse(values, arguments)
        _check(values, overrides)
        backend.prepare_environment()
        if values.sweep_blocks:
            return _sweep(values)
        if values.all:
            return _all(values)
        jobs = _kernel_jobs(values) if values.kernel else _program_jobs(values, overrides)
        _check_compilers([job.target for job in jobs])
        return _answer(jobs, values)
    except Stop as stop:
        return told(stop)


def _check(values, overrides) -> None:
    if bool(values.config) + bool(values.kernel) + values.all != 1:
        raise UsageError("give --config=configs/... (a program), --kernel=... (a kernel alone) or --all (pod configs).")
    if overrides and not values.config:
        raise UsageError(f"--config.{next(iter(overrides))} needs --config.")
    if values.only and not values.all:
        raise UsageError("--only chooses among the pod configs of --all.")
    if values.all and (values.mesh or values.compare or values.details):
        raise UsageError("--all goes without --mesh (a config's MESH is taken), --compare and --details.")
    if values.all and values.slices != "1" and not values.topology:
        raise UsageError("--slices needs --topology.")
    if values.case and (values.sweep_blocks or not values.kernel):
        raise UsageError("--case is one of a kernel's cases; it goes with --kernel alone.")
    if values.write and not (values.sweep_blocks or values.all):
        raise UsageError("--write writes what --sweep_blocks or --all finds; give both.")
    if values.sweep_blocks and not values.kernel:
        raise UsageError("--sweep_blocks needs --kernel=...")
    if values.json == "-" == values.csv:
        raise UsageError("only one of --json and --csv can go to stdout.")
    if values.compare and values.compile_only and values.kernel:
        raise UsageError("--compare of a kernel compares cycles; --compile_only finds none.")


def _targets(values, default: str) -> list[tuple[str, int]]:
    """(topology, slices) of each target, every one of them known."""
    from experiments.lib import aot_jobs

    names = [name.strip() for name in (values.topology or default).split(",") if name.strip()]
    slices = values.slices.split(",")
    if not all(count.strip().isdecimal() for count in slices) or len(slices) not in (1, len(names)):
        raise UsageError(f"--slices must be one number, or one for each --topology, got {values.slices!r}.")
    counts = itertools.islice(itertools.cycle(map(int, slices)), len(names))
    targets = list(dict.fromkeys(zip(names, counts, strict=True)))
    for target in targets:
        aot_jobs.parse_target(*target)
    return targets


def _check_compilers(targets) -> None:
    from experiments.lib import aot_jobs
    from pallas_kernels._lab import LabError, gpu, process

    on_gpu = [isinstance(aot_jobs.parse_target(*target), aot_jobs.Gpus) for target in targets]
    if any(on_gpu) and (why_not := gpu.available()):
        raise RunError(why_not)
    if not all(on_gpu):
        try:
            process.compiler()
        except LabError as error:
            raise RunError(str(error)) from error


def _program_jobs(values, overrides) -> list:
    from experiments.lib import aot_jobs

    configs = [(reference, config_lib.resolve(reference, overrides).config) for reference in values.config]
    sizes = {reference: mesh_lib.parse(values.mesh or pods.find(reference).mesh) for reference in values.config}
    for reference, config in configs:
        _check_experiment(reference, config)
    targets = _targets(values, _POD)
    parsed = [aot_jobs.parse_target(*target) for target in targets]
    for reference, config in configs:
        reps = [mesh_lib.abstract(sizes[reference], found.devices, str(found)).shape["rep"] for found in parsed]
        for found, rep in zip(parsed, reps, strict=True):
            _check_replicates(reference, config.run.replicates, str(found), rep, math.lcm(*reps))
    options = {"simulate": not values.compile_only, "fresh": values.fresh, "limit": values.limit_seconds}
    return [
        aot_jobs.ProgramJob(reference, overrides, target, sizes[reference], impl, **options)
        for reference, target in itertools.product(values.config, targets)
        for impl in ((None, "xla") if values.compare else (None,))
    ]


def _check_experiment(reference: str, config) -> None:
    import importlib.util

    try:
        found = importlib.util.find_spec(f"experiments.{config.experiment}")
    except ModuleNotFoundError:
        found = None
    if found is None:
        raise UsageError(f"{reference} is of the experiment {config.experiment}, and there is no such module.")


def _check_replicates(reference: str, replicates: int, target: str, rep: int, every: int) -> None:
    if replicates % rep:
        wanted = max(1, round(replicates / every)) * every
        raise UsageError(
            f"{reference} has {replicates} replicates, and {rep} devices of {target} on the axis rep do not divide "
            f"them; --config.run.replicates={wanted} would do for every topology asked for."
        )


def _kernel(values) -> str:
    from pallas_kernels import _discover

    known = _discover.kernels()
    if values.kernel not in known:
        hint = config_lib.nearest(values.kernel, known)
        raise UsageError(
            f"no kernel {values.kernel}; " + (f"nearest: {hint}." if hint else f"there are {', '.join(known)}.")
        )
    return values.kernel


def _kernel_jobs(values) -> list:
    from experiments.lib import aot_jobs
    from pallas_kernels import _discover

    kernel = _kernel(values)
    known = [case.name for case in _discover.load(kernel, "cases").cases()]
    if values.case and values.case not in known:
        raise UsageError(f"{kernel} has no case {values.case}; there are {', '.join(known)}.")
    names, targets = [values.case] if values.case else known, _single_devices(values)
    options = {"simulate": not values.compile_only, "fresh": values.fresh, "limit": values.limit_seconds}
    return [
        aot_jobs.KernelJob(kernel, name, target, impl, **options)
        for name, target in itertools.product(names, targets)
        for impl in (("kernel", "xla") if values.compare else ("kernel",))
    ]


def _single_devices(values) -> list[tuple[str, int]]:
    from experiments.lib import aot_jobs

    targets = _targets(values, _CHIPS)
    for target in targets:
        found = aot_jobs.parse_target(*target)
        if found.devices > 1:
            raise UsageError(f"a kernel is costed on one device: --topology={target[0].split(':')[0]}, got {found}.")
    return targets


def _answer(jobs, values) -> int:
    from experiments.lib import aot_jobs, aot_output

    answers = []
    with aot_output.progress(len(jobs)) as told_one:
        for answer in aot_jobs.run(jobs, values.jobs):
            answers.append(answer)
            told_one(answer)
    aot_output.show(answers, values)
    problems = [answer for answer in answers if answer.problem]
    for answer in problems:
        told(RunError(f"{answer.job}: {answer.problem}"))
    return RunError.exit_code if problems else 0


def _all(values) -> int:
    from experiments.lib import aot_pods

    chosen = pods.selected(pods.pods(), filter(None, values.only.replace(" ", "").split(",")))
    targets = _targets(values, "") if values.topology else list(aot_pods.TARGETS)
    _check_compilers(targets)
    return aot_pods.compile_all(chosen, targets, values)


def _sweep(values) -> int:
    from experiments.lib import aot_sweep

    kernel, targets = _kernel(values), _single_devices(values)
    _check_compilers(targets)
    return aot_sweep.sweep(kernel, targets, values)


if __name__ == "__main__":
    sys.exit(main())
