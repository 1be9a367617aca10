"""The network below the head of a finished run of `pooling.imagenet`, as the start of another one."""

from __future__ import annotations

from typing import Any

from experiments.lib.errors import RunError

__all__ = ["backbone"]


def backbone(algo, weights: Any, statistics: Any) -> tuple[Any, Any]:
    """Weights and statistics after that run's last step, of its first replicate, for all replicates here.

    Args:
      algo: `weights` is the run directory; `model` and `kind` are what it must have.
      weights, statistics: arrays `[R, ...]` of a network without a head; what comes back is like them, and where they
        are.

    Raises: RunError where it is not such a run, not finished, of another network, or its last step is not kept.
    """
    import jax
    import jax.numpy as jnp

    from experiments.lib import checkpoint_part, rundir

    run = rundir.load(algo.weights)
    if run.config.experiment != "pooling.imagenet":
        raise RunError(f"config.algo.weights: {run.path} is a run of {run.config.experiment}, not of pooling.imagenet.")
    for name in ("model", "kind"):
        if run.config.algo[name] != algo[name]:
            raise RunError(f"config.algo.{name} must be that of {run.path}, {run.config.algo[name]}, got {algo[name]}.")
    if not run.finished:
        raise RunError(f"config.algo.weights: {run.path} is not finished.")
    replicates = run.config.run.replicates

    def of_all(leaf):
        return jax.ShapeDtypeStruct((replicates, *leaf.shape[1:]), leaf.dtype, sharding=leaf.sharding)

    step, found = checkpoint_part.part(run.path / "checkpoints", jax.tree.map(of_all, (weights, statistics)))
    if step != run.config.run.num_steps:
        raise RunError(
            f"config.algo.weights: {run.path} has kept step {step}, not its last, {run.config.run.num_steps}; "
            "runs of seconds keep it with --checkpoint_steps."
        )
    given = (weights, statistics)
    spread = jax.jit(
        lambda tree: jax.tree.map(lambda leaf, like: jnp.broadcast_to(leaf[:1], like.shape), tree, given),
        out_shardings=jax.tree.map(lambda leaf: leaf.sharding, given),
    )
    return spread(found)
