"""The loop of every experiment: restore, advance, log, checkpoint."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

from experiments.lib import config as config_lib
from experiments.lib import hosts
from experiments.lib.checkpoint import Checkpoints
from experiments.lib.errors import Interrupted, UsageError
from experiments.lib.program import Program
from experiments.lib.progress import Progress
from experiments.lib.signals import Notice

if TYPE_CHECKING:
    from experiments.lib.recorder import Recorder

__all__ = ["Controls", "drive"]


class Controls(NamedTuple):
    """How a run is driven; nothing here can change a number."""

    checkpoints: Checkpoints
    notice: Notice
    quiet: bool = False
    figures: bool = True  # whether `Recorder.look` draws
    ended: tuple[Any, Any] | None = None  # `(data, state)` after the last step, where a batch has come to it already


def drive(program: Program, config, run: Recorder) -> tuple[Any, Any]:
    """Brings the program from where the run directory stands to `config.run.num_steps`.

    Args:
      program: the experiment's.
      config: the resolved config.
      run: what `main` was given.

    Returns:
      `(data, state)` after the last step; what is split over `rep` is whole in each process, where there are several.

    Raises:
      Interrupted: a signal asked for the end; the state is saved.
      RunError: the state cannot be saved, or every replicate has failed.
      ValueError: the program breaks its contract.
    """
    import jax

    _check_fields(program, config)
    if run.controls.ended is not None:
        return run.controls.ended
    num_steps, chunk = config.run.num_steps, config.run.chunk
    checkpoints, notice, quiet = run.controls[:3]
    data, state = program.init()
    state = _as_arrays(state)
    _check_layout(program.abstract_args, (data, state))
    run.label_axes(program.axes)
    step, state = _restored(run, state)
    if step == num_steps:
        return hosts.local((data, state))
    began = time.perf_counter()
    advance = _compiled(program, data, state)
    shardings = jax.tree.map(lambda leaf: leaf.sharding, state)
    compile_seconds = time.perf_counter() - began
    with notice.deferred(), Progress(run.name, num_steps, done=step, quiet=quiet) as progress:
        while step < num_steps:
            began = time.perf_counter()
            state, metrics = advance(data, state)
            state, metrics = jax.tree.map(_on, state, shardings), jax.device_get(hosts.local(metrics))
            step += chunk
            run.log(step, metrics)
            run.time(step, seconds=time.perf_counter() - began, compile_seconds=compile_seconds)
            compile_seconds = 0.0
            progress.update(step)
            last = step == num_steps
            wanted = checkpoints.worth_keeping(step) if last else checkpoints.due(step)
            said = hosts.agree([notice.received or 0, wanted])
            asked = int(said[:, 0].max())
            if said[0, 1] or (asked and not last):
                run.sync()
                checkpoints.save(step, state)
            if asked:
                checkpoints.wait()
                raise Interrupted(asked, step)
    checkpoints.wait()
    return hosts.local((data, state))


def _check_fields(program: Program, config) -> None:
    known = list(config_lib.fields(config))
    for field in program.traced_fields:
        if field not in known:
            raise UsageError(f"traced field {field} is not in the config; nearest: {config_lib.nearest(field, known)}.")


def _as_arrays(state: Any) -> Any:
    """Every leaf an array with a dtype of its own, so that a restored state meets the same compiled program."""
    import jax
    import jax.numpy as jnp

    return jax.tree.map(lambda leaf: leaf if isinstance(leaf, jax.Array) else jnp.asarray(leaf), state)


def _check_layout(abstract: tuple[Any, Any], concrete: tuple[Any, Any]) -> None:
    """What tools compile without data must be what the run compiles with it."""
    import jax

    def layout(tree):
        return [(jax.tree_util.keystr(path), jax.typeof(leaf).shape, jax.typeof(leaf).dtype) for path, leaf in
                jax.tree_util.tree_leaves_with_path(tree)]  # fmt: skip

    promised, found = layout(abstract), layout(concrete)
    for one, other in zip(promised, found, strict=False):
        if one != other:
            raise ValueError(f"abstract_args must describe what init returns, got {one} for {other}.")
    if len(promised) != len(found):
        raise ValueError(f"abstract_args must describe what init returns, got {len(promised)} arrays for {len(found)}.")


def _restored(run: Recorder, state: Any) -> tuple[int, Any]:
    logged = run.logged_steps()
    found = run.controls.checkpoints.restore(state, usable=logged.__contains__)
    step, state = found or (0, state)
    run.rewind(step)
    if step:
        run.say(f"resumes {run.path} at step {step}")
    return step, state


def _compiled(program: Program, data: Any, state: Any):
    """The chunk, compiled before the first call so that the clocks of the steps hold no compilation."""
    import jax

    advance = program.advance if hasattr(program.advance, "lower") else jax.jit(program.advance)
    return advance.lower(data, state).compile()


def _on(leaf: Any, sharding: Any) -> Any:
    """The leaf where the compiled chunk expects it; the compiler may have placed an output elsewhere."""
    import jax

    if leaf.sharding == sharding:
        return leaf
    if sharding.is_fully_addressable:
        return jax.device_put(leaf, sharding)
    return jax.jit(_same, out_shardings=sharding)(leaf)  # across processes only a program can move an array


def _same(leaf: Any) -> Any:
    return leaf
