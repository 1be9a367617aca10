"""One process of a sweep in batches: goes round the batches while there are some that nobody holds."""

import argparse
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

from experiments.lib import backend, batch, rundir, signals
from experiments.lib import mesh as mesh_lib
from experiments.lib.errors import EXIT_FAILED_REPLICATES
from experiments.lib.points import Point
from experiments.lib.tally import Tally

__all__ = ["work"]


def work(manifest: Sequence[Point], given: argparse.Namespace) -> int:
    """Runs batches of the manifest, beginning at this worker's; returns the exit code.

    Raises:
      Interrupted: a signal asked for the end; what is done is saved.
    """
    root = Path(given.root)
    tally = Tally(root / point.resolved.directory for point in manifest)
    first = manifest[0].resolved
    backend.prepare_environment(cpu_devices=given.cpu_devices)
    notice = signals.Notice()
    with notice.installed():
        warning = backend.configure(
            first.config.numerics, cpu_devices=given.cpu_devices, compile_cache=given.compile_cache
        )
        if warning:
            print(warning, file=sys.stderr)
        mesh = mesh_lib.build(mesh_lib.parse(given.mesh))
        for point in manifest:
            mesh_lib.check_replicates(mesh.shape, point.resolved.config.run.replicates)
        module = importlib.import_module(f"experiments.{first.config.experiment}")
        fields = module.program(first.config, mesh).traced_fields
        batches = batch.form(manifest, given.batch_points, fields)
        start = given.worker * len(batches) // given.jobs
        how = batch.Options(
            given.checkpoint_steps, given.checkpoint_minutes, given.allow_new_revision, given.figures, quiet=True,
            given_up=tally.failed,
        )  # fmt: skip
        of, failures = batch.programs(module, mesh), {}

        def taken(one: batch.Batch) -> bool:
            found = batch.run(module, one, of, root, mesh, notice, how)
            for place, why in (found or {}).items():
                print(f"error: {root / place}: {why.removeprefix(f'{root / place}: ')}", file=sys.stderr)
                failures[place] = why
            return found is not None

        left = [*batches[start:], *batches[:start]]
        while left:  # whoever holds a batch may die before it is done: looked at again, and never waited for
            held = [one for one in left if not taken(one)]
            left = held if len(held) < len(left) else []
    if failures:
        return 1
    done = [rundir.Run(root / point.resolved.directory) for point in manifest]
    return EXIT_FAILED_REPLICATES if any(run.finished and run.failed for run in done) else 0
