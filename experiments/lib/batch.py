"""Points of a sweep as lanes of one compiled program; each of them ends as the ordinary run that it is.

Points that differ in nothing but fields their program traces are cut, in the order of the manifest, into batches of one
width; the last is padded with its last point. Batches are formed from all points, finished or not, so that a lane has
the same company whatever was done before: with equal width a rerun ends with the same bytes. Against another width,
lanes agree to rounding.
"""

from __future__ import annotations

import contextlib
import hashlib
import operator
import shutil
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

from experiments.lib import config as config_lib
from experiments.lib import locks, opening, recorder
from experiments.lib.command import one_line
from experiments.lib.errors import AlreadyDone, Interrupted, RunError, Stop, UsageError
from experiments.lib.points import Point
from experiments.lib.program import Program

if TYPE_CHECKING:
    from experiments.lib.signals import Notice

__all__ = ["Batch", "Options", "form", "programs", "run"]

_LARGEST_INTEGER = 2**31 - 1


class Batch(NamedTuple):
    """Points of one program, in the order of their lanes.

    Attributes:
      points: without the padding.
      width: lanes of the program.
      fields: those in which they may differ, traced.
      group: what all their configs have in common, as text.
    """

    points: tuple[Point, ...]
    width: int
    fields: tuple[str, ...]
    group: str

    @property
    def folder(self) -> Path:
        """Where its lock and checkpoints live while it is unfinished, relative to the root of the runs."""
        names = "\n".join([str(self.width), *(str(point.resolved.directory) for point in self.points)])
        digest = hashlib.sha256(names.encode()).hexdigest()[:12]
        return self.points[0].resolved.directory.parent / ".batches" / digest


class Options(NamedTuple):
    """How a batch is driven; nothing here can change a number."""

    every_steps: int = 0
    every_minutes: float = 5.0
    allow_new_revision: bool = False
    figures: bool = False
    quiet: bool = False
    given_up: Callable[[Path], bool] = lambda folder: False  # whether a point is not to be tried again


def form(points: Sequence[Point], width: int, fields: Sequence[str]) -> list[Batch]:
    """Batches of all points of a sweep."""
    groups: dict[str, list[Point]] = {}
    for point in points:
        config = point.resolved.config.copy_and_resolve_references()
        with config.unlocked(), config.ignore_type():
            for field in fields:
                config.update_from_flattened_dict({field: None})
        groups.setdefault(config_lib.canonical_text(config), []).append(point)
    return [
        Batch(tuple(group[first : first + width]), width, tuple(fields), text)
        for text, group in groups.items()
        for first in range(0, len(group), width)
    ]


def programs(module: ModuleType, mesh) -> Callable[[Batch], Program]:
    """The program of a batch: the experiment's, mapped over the values of the traced fields. Batches of one group share
    its functions, which are traced and compiled once.

    The function raises UsageError where the experiment does not trace one of the fields, and for an integer that does
    not fit in 32 bits.
    """
    import jax

    shared: dict[str, tuple[Program, Callable, Callable]] = {}

    def of(batch: Batch) -> Program:
        if batch.group not in shared:
            shared[batch.group] = _mapped(module, batch, mesh)
        alone, begin, advance = shared[batch.group]
        values = _values(batch)

        def init():
            data, state = begin(values)
            return (values, data), state

        return Program(init, advance, jax.eval_shape(init), alone.traced_fields, alone.axes)

    return of


def _mapped(module, batch, mesh) -> tuple[Program, Callable, Callable]:
    """Of one point the program; of all `values -> (data, state)` and `((values, data), state) -> (state, metrics)`."""
    import jax

    config = batch.points[0].resolved.config
    alone = module.program(config, mesh)
    if missing := set(batch.fields) - set(alone.traced_fields):
        raise UsageError(f"{config.experiment} does not trace {', '.join(sorted(missing))}.")

    def of(traced):
        changed = config.copy_and_resolve_references()
        with changed.unlocked(), changed.ignore_type():
            changed.update_from_flattened_dict(traced)
        return module.program(changed, mesh)

    @jax.jit
    @jax.vmap
    def begin(traced):
        return of(traced).init()

    @jax.jit
    def advance(data, state):
        return jax.vmap(lambda traced, data, state: of(traced).advance(data, state))(*data, state)

    return alone, begin, advance


def _values(batch) -> dict[str, Any]:
    """Field -> its values `[width]`; lanes of the padding have those of the last point."""
    import jax.numpy as jnp

    lanes = [*batch.points, *batch.points[-1:] * (batch.width - len(batch.points))]
    values = {}
    for field in batch.fields:
        column = [operator.attrgetter(field)(point.resolved.config) for point in lanes]
        if any(isinstance(value, int) and abs(value) > _LARGEST_INTEGER for value in column):
            raise UsageError(f"{field} must fit in 32 bits to be traced, got {max(column, key=abs)}.")
        values[field] = jnp.asarray(column)
    return values


class _Together:
    """What `driver.drive` is given for a batch: what it logs goes to the run of every lane that is still wanted."""

    def __init__(self, name: str, path: Path, lanes: dict[int, recorder.Recorder], controls):
        self.name, self.path, self.lanes, self.controls = name, path, lanes, controls
        self.failures: dict[int, str] = {}

    def each(self, act: Callable[[int, recorder.Recorder], None]) -> None:
        """Acts on every lane; one that fails is left out from here on."""
        for lane, run in list(self.lanes.items()):
            try:
                with opening.ends_recorded(run):
                    act(lane, run)
            except Interrupted:
                raise
            except Exception as error:
                self.failures[lane] = one_line(error)
                del self.lanes[lane]
        if not self.lanes:
            raise RunError(f"{self.name}: no point is left.")

    def label_axes(self, axes) -> None:
        self.each(lambda lane, run: run.label_axes(axes))

    def logged_steps(self) -> set[int]:
        return set.intersection(*(run.logged_steps() for run in self.lanes.values()))

    def rewind(self, step: int) -> None:
        self.each(lambda lane, run: run.rewind(step))

    def log(self, step: int, metrics) -> None:
        self.each(lambda lane, run: run.log(step, {name: value[lane] for name, value in metrics.items()}))

    def time(self, step: int, *, seconds: float, compile_seconds: float = 0.0) -> None:
        share = len(self.lanes)
        self.each(
            lambda lane, run: run.time(step, seconds=seconds / share, compile_seconds=compile_seconds / share)
        )  # fmt: skip

    def sync(self) -> None:
        self.each(lambda lane, run: run.sync())

    def say(self, text: str) -> None:
        next(iter(self.lanes.values())).say(text)


def run(
    module: ModuleType, batch: Batch, of: Callable[[Batch], Program], root: Path, mesh, notice: Notice, options: Options
) -> dict[Path, str] | None:
    """Runs the unfinished points of a batch to their ends, by the program that `programs(module, mesh)`, `of`, gives.

    Returns:
      directory of a point -> why it failed, empty where all went well; None where another process works on the batch.

    Raises:
      Interrupted: a signal asked for the end; what is done is saved.
    """
    folder = root / batch.folder
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(locks.held(folder))
        except RunError:
            return None
        return _run(module, batch, of, root, mesh, notice, options, stack)


def _run(module, batch, of, root, mesh, notice, options, stack) -> dict[Path, str]:
    from experiments.lib import checkpoint, driver

    places = [point.resolved.directory for point in batch.points]
    lanes, failures = _opened(batch, root, mesh, options, stack)
    if not lanes:
        return failures
    folder = root / batch.folder
    config = batch.points[0].resolved.config
    checkpoints = checkpoint.Checkpoints(
        folder / "checkpoints", lambda text: together.say(text), every_steps=options.every_steps,
        every_minutes=options.every_minutes,
    )  # fmt: skip
    controls = driver.Controls(checkpoints, notice, options.quiet, options.figures)
    together = _Together(f"{len(lanes)} points of {config.experiment}", folder, lanes, controls)

    def end(lane, run):
        run.controls = controls._replace(ended=_lane(ended, lane))
        module.main(batch.points[lane].resolved.config, run, mesh)
        with notice.deferred():
            run.finish()

    try:
        with contextlib.closing(checkpoints):
            (_, data), state = driver.drive(of(batch), config, together)
            ended = (data, state)
            together.each(end)
    except Interrupted as stop:
        for run in lanes.values():
            if not run.finished:
                run.abandon("interrupted", stop.signal_name)
        raise
    except Exception as error:  # of all lanes at once, such as too little memory: other batches go on
        for lane, run in lanes.items():
            run.say(traceback.format_exc().rstrip(), to_terminal=False)
            run.abandon("failed", f"{type(error).__name__}: {one_line(error)}")
            together.failures[lane] = one_line(error)
    if all((root / place / "DONE").exists() for place in places):
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    return failures | {places[lane]: why for lane, why in together.failures.items()}


def _opened(batch, root, mesh, options, stack) -> tuple[dict[int, recorder.Recorder], dict[Path, str]]:
    """Recorders of unfinished points by lane, and why others cannot be opened."""
    lanes, failures = {}, {}
    for lane, point in enumerate(batch.points):
        place = root / point.resolved.directory
        if (place / "DONE").exists() or options.given_up(place):
            continue
        opened = opening.opened(
            point.resolved, root, command=point.command, allow_new_revision=options.allow_new_revision
        )  # fmt: skip
        try:
            lanes[lane] = stack.enter_context(opened)
            lanes[lane].describe(mesh)
        except AlreadyDone:
            continue
        except (Stop, OSError) as error:
            failures[point.resolved.directory] = one_line(error)
    return lanes, failures


def _lane(tree: Any, lane: int) -> Any:
    import jax

    return jax.tree.map(lambda leaf: leaf[lane], tree)
