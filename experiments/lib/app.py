"""The command line of every experiment, and the only place that defines flags.

    if __name__ == "__main__":
        app.run(main, default_config="configs/regret/medical.py")

`main(config, run, mesh)` gets the resolved config, the run directory (`experiments.lib.recorder.Recorder`) and a mesh.
Flags say where and how to run; what can change a number is in the config and is set by `--config.field=value`.
jax is imported after everything typed has been checked. Exit codes: `experiments.lib.errors`.
"""

import contextlib
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn

from absl import flags

from experiments.lib import backend, hosts
from experiments.lib import config as config_lib
from experiments.lib import mesh as mesh_lib
from experiments.lib.command import helped, one_line, parse, told
from experiments.lib.errors import EXIT_FAILED_REPLICATES, AlreadyDone, RunError, Stop, UsageError

__all__ = ["launch", "run"]


def _flags(default_config: str) -> flags.FlagValues:
    """A set of flags of its own: nothing global is defined, so one process can run many experiments."""
    values = flags.FlagValues()
    text, switch = flags.DEFINE_string, flags.DEFINE_boolean
    text("config", default_config, "Config file, path.py or path.py:arg; looked up here, then in the checkout. "
         "--config.field=value changes a field.", flag_values=values)  # fmt: skip
    text("root", "runs", "Folder of all run directories.", flag_values=values)
    text("mesh", "rep:1", "Devices by axis, such as rep:8 or rep:-1,data:1; -1 is the rest.", flag_values=values)
    text("dcn", "", "Slices by axis of the mesh, such as rep:4: what is split over several slices.", flag_values=values)
    switch("distributed", False, "This process is one of several that are one run; all are given the same command.",
           flag_values=values)  # fmt: skip
    text("coordinator", "", "With --distributed: host:port of the first process, where no cluster says it.",
         flag_values=values)  # fmt: skip
    text("process", "", "With --coordinator: i/n for process i of n.", flag_values=values)
    flags.DEFINE_integer("distributed_seconds", 300, "How long processes wait for one another.", lower_bound=1,
                         flag_values=values)  # fmt: skip
    flags.DEFINE_integer("cpu_devices", 0, "Rehearse so many devices on the CPU.", lower_bound=0, flag_values=values)
    switch("overwrite", False, "Redo the run, even a finished one.", flag_values=values)
    switch("allow_new_revision", False, "Resume a run that another revision of the code began.", flag_values=values)
    text("compile_cache", "", 'Folder of compiled programs; default ~/.cache/equipoise/xla-<cpu>, "off" for none.',
         flag_values=values)  # fmt: skip
    flags.DEFINE_integer("checkpoint_steps", 0, "Save the state every so many steps; 0 for never.", lower_bound=0,
                         flag_values=values)  # fmt: skip
    flags.DEFINE_float("checkpoint_minutes", 5.0, "Save the state every so many minutes.", lower_bound=0.0,
                       flag_values=values)  # fmt: skip
    text("data_dir", "", "Folder that holds data sets already; default: the cache.", flag_values=values)
    text("adult_reconstruction", "", "File of the reconstructed Adult data.", flag_values=values)
    switch("figures", True, "Draw a quick look at the end.", flag_values=values)
    switch("quiet", False, "No progress and no path at the end.", flag_values=values)
    return values


def run(main: Callable, default_config: str) -> NoReturn:
    """Runs the experiment that the command line asks for, and exits."""
    sys.exit(launch(main, sys.argv[1:], default_config=default_config, module=_module_name()))


def _module_name() -> str:
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    return spec.name if spec else ""


def launch(main: Callable, arguments: Sequence[str], *, default_config: str, module: str = "") -> int:
    """What `run` does, as a function: returns the exit code.

    Args:
      main: `main(config, run, mesh)`.
      arguments: the command line after the program's name.
      default_config: used when `--config` is not given.
      module: dotted name of the experiment's module; its config must name the same experiment. "" for no check.
    """
    values = _flags(default_config)
    if helped(arguments, sys.modules[main.__module__].__doc__, values):
        return 0
    try:
        overrides = parse(values, arguments)
        resolved = config_lib.resolve(values.config, overrides)
        if module and not module.endswith(f".{resolved.config.experiment}"):
            raise UsageError(
                f"{values.config} is a config of {resolved.config.experiment}; "
                f"run python -m experiments.{resolved.config.experiment} --config={values.config}"
            )
        sizes = mesh_lib.parse(values.mesh)
        slices = mesh_lib.parse_slices(values.dcn, sizes)
        where = _meeting(values)
        mesh_lib.check_replicates(sizes, resolved.config.run.replicates)
        backend.prepare_environment(cpu_devices=values.cpu_devices)
        _name_data(values)
    except Stop as stop:
        return told(stop)
    command = shlex.join(["python", "-m", module or "experiment", *arguments])
    return _execute(main, resolved, _Place(sizes, slices, where), values, command)


class _Place(NamedTuple):
    """Where a run is: axes of the mesh, slices that they span, and other processes, if there are any."""

    sizes: dict[str, int]
    slices: dict[str, int]
    meeting: hosts.Meeting | None


def _meeting(values: flags.FlagValues) -> hosts.Meeting | None:
    if not values.distributed and (values.coordinator or values.process):
        raise UsageError("--coordinator and --process go with --distributed.")
    return hosts.meeting(values.coordinator, values.process, values.distributed_seconds) if values.distributed else None


def _name_data(values: flags.FlagValues) -> None:
    """Tells the loaders of `experiments.data` where to look; a file that is named must exist."""
    for flag, variable, exists in (
        ("data_dir", "EQUIPOISE_DATA", os.path.isdir),
        ("adult_reconstruction", "EQUIPOISE_ADULT_RECONSTRUCTION", os.path.exists),
    ):
        if place := values[flag].value:
            if not exists(os.path.expanduser(place)):
                raise UsageError(f"--{flag}: there is no {place}.")
            os.environ[variable] = os.path.abspath(os.path.expanduser(place))


def _execute(main: Callable, resolved, place: _Place, values: flags.FlagValues, command: str) -> int:
    from experiments.lib import opening, rundir, signals

    folder = Path(values.root) / resolved.directory
    if (folder / "DONE").exists() and not values.overwrite:
        return _finished(rundir.Run(folder), values.quiet)
    notice, together = signals.Notice(), False
    try:
        with notice.installed(), contextlib.ExitStack() as stack:
            warning = _started(resolved, place, values)
            run = _opened(resolved, values, command, stack)
            with opening.ends_recorded(run):
                _perform(main, resolved, place, values, run, notice, warning)
            code, together = _finished(run, values.quiet), True
    except AlreadyDone:
        code = _finished(rundir.Run(folder), values.quiet)
    except Stop as stop:
        code, together = told(stop), getattr(stop, "step", None) is not None
    except OSError as error:
        code = told(RunError(one_line(error)))
    except ValueError as error:
        code = told(RunError(one_line(error) + (f" [traceback in {folder}/log.txt]" if folder.exists() else "")))
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "RESOURCE_EXHAUSTED" not in str(error):  # as XLA tells it
            raise
        code = told(RunError(f"{folder}: too little memory: {one_line(error)}"))
    return hosts.leave(code, together=together)


def _started(resolved, place: _Place, values: flags.FlagValues) -> str | None:
    """Configures jax and, where the run has several processes, meets the others; returns a warning or None."""
    warning = backend.configure(
        resolved.config.numerics, cpu_devices=values.cpu_devices, compile_cache=values.compile_cache
    )
    if place.meeting:
        hosts.meet(place.meeting)
    return warning


def _opened(resolved, values: flags.FlagValues, command: str, stack: contextlib.ExitStack):
    from experiments.lib import opening

    root, options = Path(values.root), {"overwrite": values.overwrite, "allow_new_revision": values.allow_new_revision}
    return hosts.in_turn(
        lambda: stack.enter_context(opening.opened(resolved, root, command=command, **options)),
        lambda: stack.enter_context(opening.following(resolved, root, command=command, process=hosts.index())),
    )


def _perform(main: Callable, resolved, place: _Place, values, run, notice, warning: str | None) -> None:
    from experiments.lib import checkpoint, driver

    if warning:
        run.say(warning)
    mesh = mesh_lib.build(place.sizes, place.slices)
    mesh_lib.check_replicates(mesh.shape, resolved.config.run.replicates)
    run.describe(mesh)
    checkpoints = checkpoint.Checkpoints(
        Path(values.root) / resolved.directory / "checkpoints", run.say,
        every_steps=values.checkpoint_steps, every_minutes=values.checkpoint_minutes,
    )  # fmt: skip
    first = hosts.index() == 0
    run.controls = driver.Controls(checkpoints, notice, values.quiet or not first, values.figures and first)
    with contextlib.closing(checkpoints):
        main(resolved.config, run, mesh)
    with notice.deferred():  # a signal that comes now is too late to matter
        run.finish()


def _finished(run, quiet: bool) -> int:
    first = hosts.index() == 0
    if first and not quiet:
        print(run.path)
    if not run.failed:
        return 0
    if not first:
        return EXIT_FAILED_REPLICATES
    replicates = ", ".join(str(failure["replicate"]) for failure in run.failed)
    print(f"error: {run.path}: {len(run.failed)} of {run.config.run.replicates} replicates failed "
          f"({replicates}); see meta.json", file=sys.stderr)  # fmt: skip
    return EXIT_FAILED_REPLICATES
