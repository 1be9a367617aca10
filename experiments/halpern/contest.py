"""What the comparisons of this family have in common: methods by name, raced to equal budgets of oracle calls.

A step of a run is a point of the epoch axis, `config.problem.epochs[step]`: every method makes strides until it has
spent so many calls per component, then its natural residual is taken (step 1, monitoring, not charged). Metrics, all
`[R, case]`: `residual/<method>`, `epochs/<method>` (what was really spent: a stride is never cut),
`strides/<method>` and `status/<method>`.
Replicates are independent seeds and run one after another on a device: side by side, each one's refreshes would turn
the branches of all others into selections, which evaluate the full operator at every iteration.
"""

from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from experiments.lib import mesh as mesh_lib
from experiments.lib.program import Program, number
from research.core import loops, prng, sharding
from research.core import validate as checks
from research.core.status import Status
from research.core.types import Array, Float
from research.halpern import (
    extragradient,
    forward_backward,
    forward_reflected,
    page,
    resolvent,
    svrg_anchored,
    vr_extragradient,
    vr_forb,
)
from research.halpern.inclusions import Problem, natural_residual

__all__ = ["METHODS", "Entrant", "enter", "program", "reach", "stacked"]

#: name -> module, and the params that make it this method.
METHODS = {
    "eg": (extragradient, {"anchor": "none"}),
    "eag": (extragradient, {"anchor": "eag"}),
    "feg": (extragradient, {"anchor": "feg"}),
    "forb": (forward_reflected, {}),
    "vr_eg": (vr_extragradient, {}),
    "vr_forb": (vr_forb, {}),
    "gd": (forward_backward, {"anchor": "none"}),
    "halpern": (forward_backward, {}),
    "page": (page, {}),
    "svrg": (svrg_anchored, {}),
    "alg2": (resolvent, {"restart": 0.0}),
    "reflected": (resolvent, {"restart": 0.0, "reflected": True}),
    "restarted": (resolvent, {}),
    "certified": (resolvent, {"schedule": "certified"}),
}  # fmt: skip


class Entrant(NamedTuple):
    """A method as it is run on a problem; one stride at a time."""

    method: ModuleType
    problem: Problem
    params: Any


def enter(name: str, problem: Problem, **fields: Any) -> Entrant:
    """A method of the table on a problem, with further fields of its params."""
    checks.one_of("method", name, tuple(METHODS))
    method, own = METHODS[name]
    return Entrant(method, problem, method.Params(num_steps=1, **own | fields))


def stacked(cases: list[Any], axis: int = 0) -> Any:
    """Trees of one shape as one tree with another axis."""
    return jax.tree.map(lambda *leaves: jnp.stack([jnp.asarray(leaf) for leaf in leaves], axis), *cases)


def reach(entrant: Entrant, state: Any, point: Any, epochs: Float[Array, ""]) -> tuple[Any, Any]:
    """Strides until `epochs` n calls are spent or the method stands still; the state and the point it would return."""
    budget = epochs * entrant.problem.inclusion.num_components

    def going(carry):
        ledger = carry[0].ledger
        return (loops.approximate(ledger.calls, budget.dtype) < budget) & (ledger.status == Status.OK)

    def stride(carry):
        result = entrant.method.run(entrant.problem, entrant.params, state=carry[0])
        return result.state, result.u

    return jax.lax.while_loop(going, stride, (state, point))


def program(
    config, mesh, *, groups: Callable[..., tuple[Any, ...]], rules: Mapping[str, Callable[[Any], Entrant]],
    cases: tuple[str, ...], data: Callable[[], tuple] = tuple, data_shape: tuple = (),
) -> Program:  # fmt: skip
    """A race of methods on cases.

    Args:
      groups: trees of cases, `[C, ...]`, every group of one shape; `case["epochs"] [points]` are a case's budgets, and
        `case["problem"]` is what its residual is taken of.
      rules: name of a curve -> how a case is entered under it; traced, once per group.
      cases: labels, over all groups.
      data: loads the arguments of `groups`, of `data_shape` (`jax.ShapeDtypeStruct`s); nothing is loaded before `init`.
    """
    dtype = number(config)

    def first(groups, key):
        def start(rule, cases, key):
            def one(case_and_key):
                case, key = case_and_key
                entrant = rule(case)
                return entrant.method.init(entrant.problem, entrant.params, key), entrant.problem.start

            return jax.lax.map(one, (cases, prng.replicate_keys(key, len(cases["epochs"]))))

        states = tuple(
            {name: start(rule, cases, prng.stream(key, f"{name}-{place}")) for name, rule in rules.items()}
            for place, cases in enumerate(groups)
        )
        return jnp.int32(0), states

    def advance(groups, state):
        point, states = state
        moved, metrics = [], {}
        for cases, held in zip(groups, states, strict=True):
            legs = {
                name: jax.lax.map(lambda one, r=rule: _leg(r, point, *one), (cases, held[name]))
                for name, rule in rules.items()
            }
            moved.append(legs)
            residuals, sizes = jax.lax.map(_judge, (cases, stacked([u for _, u in legs.values()], axis=1)))
            for place, (name, (run, _)) in enumerate(legs.items()):
                spent = loops.approximate(run.ledger.calls, dtype) / sizes
                found = {"residual": residuals[:, place], "epochs": spent, "status": run.ledger.status}
                found["strides"] = run.step
                for metric, values in found.items():
                    metrics.setdefault(f"{metric}/{name}", []).append(values)
        return (point + 1, tuple(moved)), {name: jnp.concatenate(rows) for name, rows in metrics.items()}

    def _leg(rule, point, case, held):
        return reach(rule(case), *held, case["epochs"][point])

    def _judge(case_and_points):
        """Residuals one after another, so that the loop of the projection is compiled once; and n."""
        case, points = case_and_points
        inclusion = case["problem"].inclusion
        residuals = jax.lax.map(lambda u: natural_residual(inclusion, u), points)
        return residuals, jnp.asarray(inclusion.num_components, dtype)

    def replicates(groups):
        keys = prng.replicate_keys(prng.root_key(config.seed), config.run.replicates)
        return jax.vmap(first, in_axes=(None, 0))(groups, keys)

    shapes = sharding.replicated(jax.eval_shape(groups, *data_shape), mesh)
    state_shapes = sharding.split_replicates(jax.eval_shape(replicates, shapes), mesh)

    def init():
        made = sharding.replicated(jax.jit(groups)(*data()), mesh)
        placed = jax.tree.map(lambda leaf: leaf.sharding, state_shapes)
        return made, jax.jit(replicates, out_shardings=placed)(made)

    lanes = mesh_lib.over_replicates(mesh, jax.custom_batching.sequential_vmap(advance), shared=1)
    return Program(init, lanes, (shapes, state_shapes), ("seed",), {"case": cases})
