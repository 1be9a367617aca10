"""Many runs of one method as lanes of one program, with their refreshes at the same time.

A refresh evaluates the full operator where a coin says so. With a coin per lane the branch would become a selection,
all lanes would evaluate it at every iteration, and variance reduction would be gone. Lanes therefore share the key of
the coins and the step counter, which are the only fields of a state without a lane axis; indices are drawn per lane.
Expectations over one lane are what they were; lanes are no longer independent, so intervals over lanes of one key are
about the indices given the coins. A method that lets a lane's value reach a coin is refused by `jax.vmap` when traced.

Lanes that differ in their problem, start or params may share the indices too (`shared_draws`): comparisons are then
paired, rows are gathered once, and the products of all lanes are one product.
Source: none, it is how batches are compiled.
"""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import jax
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from research.core import prng
from research.core import validate as checks
from research.core.types import Key
from research.halpern.monitoring import Result

__all__ = ["axes", "init", "run"]

#: Fields of a state that all lanes share, where it has them; and those that they may share.
SHARED, OF_DRAWS = ("step", "coin_key"), ("key",)


def axes(tree: Any, *names: str) -> Any:
    """Axes for `jax.vmap`: 0 on the named fields of a problem or of params, all of it without names, None elsewhere."""

    def axis(path, _):
        return 0 if not names or getattr(path[0], "name", None) in names else None

    missing = [name for name in names if getattr(tree, name, None) is None]
    checks.require(not missing, "names", "be fields that are set", ", ".join(missing))
    return jax.tree_util.tree_map_with_path(axis, tree)


def init(
    method: ModuleType,
    problem: Any,
    params: Any,
    key: Key,
    num_lanes: int,
    *,
    problem_axes: Any = None,
    params_axes: Any = None,
    shared_draws: bool = False,
) -> Any:
    """States of `num_lanes` lanes; the first lanes are the same however many there are.

    Args:
      method: a module of this family with the eight names.
      problem_axes, params_axes: what differs between lanes, made by `axes`; None: nothing.
      shared_draws: all lanes draw the indices of the first.

    Raises:
      ValueError as the method's `validate` does on any lane.
    """
    checks.at_least("num_lanes", num_lanes, 1)
    if checks.is_concrete(problem, params):
        for lane in range(num_lanes if problem_axes is not None or params_axes is not None else 1):
            method.validate(_take(problem, problem_axes, lane), _take(params, params_axes, lane))
    keys = prng.replicate_keys(key, num_lanes)
    state = jax.vmap(method.init, in_axes=(problem_axes, params_axes, 0))(problem, params, keys)
    shared = {"step": state.step[0], "coin_key": prng.stream(key, "coins")}
    if shared_draws and "key" in state._fields:
        shared["key"] = state.key[0]
    return state._replace(**{name: shared[name] for name in shared if name in state._fields})


def run(
    method: ModuleType,
    problem: Any,
    params: Any,
    key: Key | None = None,
    num_lanes: int = 1,
    *,
    state: Any = None,
    problem_axes: Any = None,
    params_axes: Any = None,
    shared_draws: bool = False,
    mesh: Mesh | None = None,
) -> Result:
    """`params.num_steps` steps of every lane, from a key or from where `state` stopped.

    Args:
      shared_draws: as `init` was told, where a state is given.
      mesh: with an axis `rep` that divides the number of lanes; None for one device.

    Returns:
      the method's result with a lane axis in front of everything but the shared fields of its state: statuses are per
      lane, a lane that converged or diverged stands still while the others go on.
    """
    if state is None:
        given = {"problem_axes": problem_axes, "params_axes": params_axes, "shared_draws": shared_draws}
        state = init(method, problem, params, key, num_lanes, **given)
    shared = SHARED + OF_DRAWS * shared_draws
    where = type(state)(*(None if name in shared else 0 for name in state._fields))
    advance = jax.vmap(
        lambda problem, params, state: method.run(problem, params, state=state),
        in_axes=(problem_axes, params_axes, where),
        out_axes=Result(0, where, 0, 0),
    )
    if mesh is not None:
        ins = tuple(_specs(tree) for tree in (problem_axes, params_axes, where))
        advance = _sharded(advance, mesh, ins, _specs(Result(0, where, 0, 0)))
    return advance(problem, params, state)


def _sharded(advance: Callable, mesh: Mesh, ins: Any, outs: Any) -> Callable:
    # check_vma=False as in research.core.sharding: coins are computed alike on all devices.
    return jax.shard_map(advance, mesh=mesh, in_specs=ins, out_specs=outs, check_vma=False)


def _specs(tree):
    return jax.tree.map(lambda axis: P() if axis is None else P("rep"), tree, is_leaf=lambda axis: axis is None)


def _take(tree, tree_axes, lane):
    if tree_axes is None:
        return tree
    pick = lambda axis, leaf: leaf if axis is None else leaf[lane]  # noqa: E731
    return jax.tree.map(pick, tree_axes, tree, is_leaf=lambda axis: axis is None)
