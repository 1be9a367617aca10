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
Exit codes: 0 all points done; 1 a point failed or is unfinished; 2 usage; 3 all done, but replicates failed.
"""

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from experiments.lib import backend, launchers, points, rundir
from experiments.lib import mesh as mesh_lib
from experiments.lib.command import told
from experiments.lib.errors import EXIT_FAILED_REPLICATES, RunError, Stop, UsageError
from experiments.lib.launchers import Job

__all__ = ["main"]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m experiments.sweep", description=__doc__.splitlines()[0])
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
    given = _parser().parse_args(arguments)
    try:
        for name in ("jobs", "batch_points"):
            if getattr(given, name) < 1:
                raise UsageError(f"--{name} must be at least 1, got {getattr(given, name)}.")
        mesh_lib.parse_slices(given.dcn, mesh_lib.parse(given.mesh))
        if given.distributed and given.launcher == "local":
            raise UsageError("--distributed is for --launcher=slurm and xpk, whose jobs may have several processes.")
        if (given.distributed or given.dcn) and given.batch_points > 1:
            raise UsageError(
                "--batch_points is for jobs of one process: leave out --distributed and --dcn, and give each host "
                "a job of its own with --jobs."
            )
        manifest = points.expand(given.sweep)
        if given.list:
            return _list(manifest, Path(given.root))
        if given.worker is not None:
            from experiments.lib import worker

            return worker.work(manifest, given)
        return _launch(manifest, given)
    except Stop as stop:
        return told(stop)
    except OSError as error:
        return told(RunError(str(error)))


def _list(manifest: Sequence[points.Point], root: Path) -> int:
    for point in manifest:
        fields = " ".join(f"{name}={value}" for name, value in point.overrides.items())
        print(f"{rundir.standing(root / point.resolved.directory):<12}{root / point.resolved.directory}  {fields}")
    return 0


def _launch(manifest: Sequence[points.Point], given: argparse.Namespace) -> int:
    root = Path(given.root)
    unfinished = [point for point in manifest if rundir.standing(root / point.resolved.directory) != "done"]
    jobs = _workers(given) if given.batch_points > 1 else [_alone(point, given) for point in unfinished]
    if given.launcher == "local":
        return _local(manifest, jobs if unfinished else [], given)
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


def _local(manifest: Sequence[points.Point], jobs: Sequence[Job], given: argparse.Namespace) -> int:
    if not given.submit:
        for job in jobs:
            print(shlex.join(["python", *job.arguments]))
        return 0
    from experiments.lib.progress import Progress

    root = Path(given.root)
    root.mkdir(parents=True, exist_ok=True)
    os.environ.update(backend.ONE_THREAD if given.jobs > 1 else {})
    places = [root / point.resolved.directory / "DONE" for point in manifest]
    before = sum(place.exists() for place in places)
    with Progress(Path(given.sweep).stem, len(places), done=before, unit="points") as progress:

        def tick():
            progress.update(sum(place.exists() for place in places))

        def ended(job, code):
            tick()
            if code not in (0, EXIT_FAILED_REPLICATES):
                print(f"error: {job.name} ended with code {code}", file=sys.stderr)

        launchers.together(jobs, given.jobs, ended, tick)
    return summary(manifest, root)


def summary(manifest: Sequence[points.Point], root: Path) -> int:
    """Says how the points stand, names those that are not done; returns the exit code."""
    stands = [(point, rundir.standing(root / point.resolved.directory)) for point in manifest]
    done = [point for point, how in stands if how == "done"]
    hurt = [point for point in done if rundir.Run(root / point.resolved.directory).failed]
    print(f"{len(done)} of {len(manifest)} points done" + (f", {len(hurt)} with failed replicates" if hurt else ""))
    for point, how in stands:
        if how != "done":
            print(f"error: {how}: {root / point.resolved.directory}", file=sys.stderr)
    return 1 if len(done) < len(manifest) else EXIT_FAILED_REPLICATES if hurt else 0


if __name__ == "__main__":
    sys.exit(main())
