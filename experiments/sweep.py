"""Runs a sweep: here, on SLURM or on GKE; what is finished is skipped, what fails is recorded and the rest goes on.

    python -m experiments.sweep configs/regret/sweeps/regularization.py --list
    python -m experiments.sweep configs/regret/sweeps/regularization.py                     # prints the commands
    python -m experiments.sweep configs/regret/sweeps/regularization.py --submit --jobs=2   # runs them, two at a time
    python -m experiments.sweep configs/matching/sweeps/ratio.py --batch_points=2 --submit
    python -m experiments.sweep configs/matching/sweeps/ratio.py --launcher=slurm --batch_points=2 --jobs=8 \\
        --option=partition=gpu --option=time=04:00:00

A sweep file names the config it varies and its points (`experiments.lib.points`). Each point is an ordinary run. With
--batch_points=W, W points that differ in traced fields only are one compiled program (`experiments.lib.batch`), and
--jobs processes share the batches: they may start and die at any time, on any machine that sees the root.
Exit codes: 0 all points done; 1 a point failed or is unfinished; 2 usage; 3 all done, but replicates failed; 130, 143
stopped by SIGINT, SIGTERM, after all processes have saved their states.
"""

import argparse
import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from experiments.lib import backend, launchers, points, rundir, signals
from experiments.lib import mesh as mesh_lib
from experiments.lib.command import Parser, one_line, told
from experiments.lib.errors import EXIT_FAILED_REPLICATES, Interrupted, RunError, Stop, UsageError
from experiments.lib.launchers import Job
from experiments.lib.tally import Tally

__all__ = ["main"]

_SMALLEST = {"jobs": 1, "batch_points": 1, "cpu_devices": 0, "checkpoint_steps": 0, "checkpoint_minutes": 0}


def _parser() -> Parser:
    parser = Parser(prog="python -m experiments.sweep", description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("sweep", help="sweep file, such as configs/regret/sweeps/regularization.py")
    add("--root", default="runs", help="folder of all run directories (default: runs)")
    add("--list", action="store_true", help="every point: state, directory, fields")
    add("--launcher", choices=launchers.LAUNCHERS, default="local", help="where to run (default: local)")
    add("--submit", action="store_true", help="run or submit; without it, print what would be")
    add("--jobs", type=int, default=1, help="processes at once, or jobs that share the batches (default: 1)")
    add("--batch_points", type=int, default=1, help="points of one compiled program (default: 1)")
    add("--option", action="append", default=[], metavar="KEY=VALUE", help="passed on to SLURM or xpk; repeatable")
    add("--mesh", default="rep:1", help="devices by axis, over which replicates are split (default: rep:1)")
    add("--dcn", default="", help="slices by axis of the mesh, such as rep:4")
    add("--distributed", action="store_true", help="each point is one run of all processes of its job")
    add("--cpu_devices", type=int, default=0, help="rehearse so many devices on the CPU")
    add("--checkpoint_steps", type=int, default=0, help="save the state every so many steps; 0 for never")
    add("--checkpoint_minutes", type=float, default=5.0, help="save the state every so many minutes (default: 5)")
    add("--compile_cache", default="", help='folder of compiled programs, "off" for none')
    add("--allow_new_revision", action="store_true", help="go on with runs that other code began")
    add("--figures", action="store_true", help="draw the quick look of every point")
    add("--worker", type=int, default=None, help=argparse.SUPPRESS)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code."""
    try:
        given = _parser().parse_args(arguments)
        manifest = _checked(given)
        if given.list:
            return _list(manifest, Path(given.root))
        if given.worker is not None:
            from experiments.lib import worker

            return worker.work(manifest, given)
        return _launch(manifest, given)
    except Stop as stop:
        return told(stop)
    except OSError as error:
        return told(RunError(one_line(error)))


def _checked(given: argparse.Namespace) -> list[points.Point]:
    """The points, once every flag has been found to fit them: nothing is started, and nothing submitted, before."""
    for name, smallest in _SMALLEST.items():
        if getattr(given, name) < smallest:
            raise UsageError(f"--{name} must be at least {smallest}, got {getattr(given, name)}.")
    if given.option and given.launcher == "local":
        raise UsageError(f"--option is for --launcher=slurm or xpk, got {given.option[0]!r} for local.")
    if given.distributed and given.launcher == "local":
        raise UsageError("--distributed is for --launcher=slurm and xpk, whose jobs may have several processes.")
    if (given.distributed or given.dcn) and given.batch_points > 1:
        raise UsageError(
            "--batch_points is for jobs of one process: leave out --distributed and --dcn, and give each host "
            "a job of its own with --jobs."
        )
    sizes = mesh_lib.parse(given.mesh)
    mesh_lib.parse_slices(given.dcn, sizes)
    manifest = points.expand(given.sweep)
    for point in manifest:
        mesh_lib.check_replicates(sizes, point.resolved.config.run.replicates)
    for field in ("experiment", "numerics") if given.batch_points > 1 else ():
        if any(point.resolved.config[field] != manifest[0].resolved.config[field] for point in manifest):
            raise UsageError(f"--batch_points must be 1 where points differ in {field}, got {given.batch_points}.")
    return manifest


def _list(manifest: Sequence[points.Point], root: Path) -> int:
    for point in manifest:
        fields = " ".join(f"{name}={value}" for name, value in point.overrides.items())
        print(f"{rundir.standing(root / point.resolved.directory):<12}{root / point.resolved.directory}  {fields}")
    return 0


def _launch(manifest: Sequence[points.Point], given: argparse.Namespace) -> int:
    root = Path(given.root)
    unfinished = [point for point in manifest if rundir.standing(root / point.resolved.directory) != "done"]
    if given.launcher == "local":
        return _local(manifest, unfinished, given)
    jobs = _jobs(unfinished, given)
    log = root / "logs" / Path(given.sweep).stem
    chosen = launchers.options(given.option, ("cluster", "tpu-type") if given.launcher == "xpk" else ())
    if not unfinished:
        print(f"all {len(manifest)} points are done", file=sys.stderr)
    elif given.launcher == "slurm":
        if not given.submit:
            print(launchers.slurm_text(jobs, chosen, log))
        else:
            print("submitted " + " ".join(launchers.slurm(jobs, chosen, log)))
    elif not given.submit:
        print("\n".join(shlex.join(command) for command in launchers.xpk_commands(jobs, chosen)))
    else:
        launchers.xpk(jobs, chosen)
    return 0


def _jobs(unfinished: Sequence[points.Point], given: argparse.Namespace) -> list[Job]:
    if given.batch_points > 1:
        return _workers(given) if unfinished else []
    return [_alone(point, given) for point in unfinished]


def _alone(point: points.Point, given: argparse.Namespace) -> Job:
    looks = [] if given.figures else ["--nofigures"]
    return Job(point.resolved.directory.name, (*point.arguments, *_passed_on(given), *looks))


def _workers(given: argparse.Namespace) -> list[Job]:
    """Processes that share the batches; each begins at another."""
    stem = Path(given.sweep).stem
    common = ["-m", "experiments.sweep", given.sweep, f"--batch_points={given.batch_points}", f"--jobs={given.jobs}"]
    common += _passed_on(given) + (["--figures"] if given.figures else [])
    return [Job(f"{stem}-{number}", (*common, f"--worker={number}")) for number in range(given.jobs)]


def _passed_on(given: argparse.Namespace) -> list[str]:
    """The flags that experiments and workers have in common, where they are not at their defaults."""
    parser, flags = _parser(), []
    for name in ("root", "mesh", "dcn", "cpu_devices", "checkpoint_steps", "checkpoint_minutes", "compile_cache"):
        if getattr(given, name) != parser.get_default(name):
            flags.append(f"--{name}={getattr(given, name)}")
    return flags + [f"--{name}" for name in ("distributed", "allow_new_revision") if getattr(given, name)]


def _local(manifest: Sequence[points.Point], unfinished: Sequence[points.Point], given: argparse.Namespace) -> int:
    if not given.submit:
        for job in _jobs(unfinished, given):
            print(shlex.join(["python", *job.arguments]))
        return 0
    from experiments.lib.progress import Progress

    root = Path(given.root)
    root.mkdir(parents=True, exist_ok=True)
    os.environ.update(backend.ONE_THREAD if given.jobs > 1 else {})
    tally = Tally(root / point.resolved.directory for point in manifest)
    jobs = iter(_jobs(unfinished, given)) if given.batch_points > 1 else _wanted(unfinished, tally, given)

    def tick():
        progress.update(*tally.count())

    def ended(job, code):
        tick()
        if code not in (0, EXIT_FAILED_REPLICATES):
            print(f"error: {job.name} ended with code {code}", file=sys.stderr)

    with (
        signals.Notice().installed() as notice,
        notice.deferred(),
        Progress(Path(given.sweep).stem, len(manifest), done=tally.count()[0], unit="points") as progress,
    ):
        try:
            launchers.together(jobs, given.jobs, ended, tick, notice)
        except Interrupted as stop:
            how = f"with {tally.count()[0]} of {len(manifest)} points done; the same command resumes the sweep"
            print(f"error: stopped by {stop.signal_name} {how}", file=sys.stderr)
            return stop.exit_code
    return summary(manifest, root)


def _wanted(unfinished: Sequence[points.Point], tally: Tally, given: argparse.Namespace) -> Iterator[Job]:
    """A job for every point that nobody has finished, failed or taken in hand by the time it is asked for: another
    launcher may be at the same sweep."""
    for point in unfinished:
        folder = Path(given.root) / point.resolved.directory
        if rundir.standing(folder) not in ("done", "running") and not tally.failed(folder):
            yield _alone(point, given)


def summary(manifest: Sequence[points.Point], root: Path) -> int:
    """Says how the points stand, names those that are not done and why; returns the exit code."""
    stands = [(root / point.resolved.directory, rundir.standing(root / point.resolved.directory)) for point in manifest]
    done = [folder for folder, how in stands if how == "done"]
    hurt = [folder for folder in done if rundir.Run(folder).failed]
    print(f"{len(done)} of {len(manifest)} points done" + (f", {len(hurt)} with failed replicates" if hurt else ""))
    for folder, how in stands:
        if how != "done":
            print(f"error: {how}: {folder}{_why(folder, how)}", file=sys.stderr)
    return 1 if len(done) < len(manifest) else EXIT_FAILED_REPLICATES if hurt else 0


def _why(folder: Path, how: str) -> str:
    if how == "running":
        return ": in the hands of another process"
    return f": {rundir.last_end(folder, rundir.Run(folder).meta)}" if how == "failed" else ""


if __name__ == "__main__":
    sys.exit(main())
