"""What experiments on a batch of fixed scores share: how batches are drawn, and rules of several kinds in one program.

A replicate is an instance: T tokens, E experts with locations and scales of their own, of one family out of
`problem.kinds`. `algo.rows` are rows "RULE SCHEDULE U", as in `contest`; they run side by side on every instance.
"""

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from experiments.balancing import contest
from research.balancing import alf_lb, score_models
from research.balancing.alf_lb import Problem
from research.balancing.bias_update import BiasState, Rule
from research.core import prng
from research.core.types import Array, Int, Key

__all__ = ["AnyRule", "advance", "instance", "model", "rules", "start", "step_units"]

#: Standard deviations of the standard variables, so that families compare.
_DEVIATION = {"normal": 1.0, "uniform": 12**-0.5, "logistic": np.pi / 3**0.5, "gumbel": np.pi / 6**0.5}


def model(key: Key, problem, kind: str, dtype) -> score_models.Independent:
    """Experts whose locations have standard deviation `problem.spread`, and standard deviations between 1 over 1 +
    `problem.uneven` and that, the geometric mean being 1."""
    shape = (problem.experts,)
    location = problem.spread * jax.random.normal(prng.stream(key, "locations"), shape, dtype)
    power = jax.random.uniform(prng.stream(key, "scales"), shape, dtype, -1.0, 1.0)
    scale = (1.0 + problem.uneven) ** power / _DEVIATION[kind]
    return score_models.Independent(location, scale, kind)


def instance(key: Key, problem, dtype) -> Problem:
    """Scores of one family, drawn among `problem.kinds`."""
    drawn = [
        model(key, problem, kind, dtype).sample(prng.stream(key, "scores"), problem.tokens) for kind in problem.kinds
    ]
    which = jax.random.randint(prng.stream(key, "kind"), (), 0, len(drawn))
    return Problem(jnp.stack(drawn)[which], problem.top_k)


class AnyRule(eqx.Module):
    """A `Rule` whose kind is a number: rules of several kinds are a batch under `vmap`."""

    kinds: tuple[Rule, ...]  # all with the step size of this one
    kind: Int[Array, ""]

    def init(self, num_experts: int, dtype, bias=None) -> BiasState:
        """As of `Rule`."""
        return self.kinds[0].init(num_experts, dtype, bias)

    def update(self, state: BiasState, load, top_k: int) -> BiasState:
        """As of `Rule`."""
        return jax.lax.switch(self.kind, [lambda rule=rule: rule.update(state, load, top_k) for rule in self.kinds])


def rules(rows: Sequence[str], dtype, *, scales: Sequence[float] | None = None, offset: float = 0.0) -> AnyRule:
    """The rules of rows "RULE SCHEDULE U" or "none", stacked on a leading axis.

    Args:
      scales: units of the step sizes, one a row.
      offset: of "inv_offset".
    """
    found = contest.rows(rows)
    names = list(dict.fromkeys(row.method for row in found if row.method != "none"))
    sizes = jnp.array([row.value for row in found], dtype)
    sizes = sizes if scales is None else sizes * jnp.asarray(scales, dtype)
    kinds = jnp.array([names.index(row.method) if row.method != "none" else 0 for row in found])

    def one(kind, size):
        made = [Rule(*name.split(), step_size=size, offset=jnp.asarray(offset, dtype)) for name in names]
        return AnyRule(tuple(made), kind)

    return jax.vmap(one)(kinds, sizes)


def step_units(rows: Sequence[str], proportional, sign):
    """Of each row's step size: one number for the rules that are proportional to the error, one for signs."""
    return jnp.where(jnp.array([row.method.startswith("sign") for row in contest.rows(rows)]), sign, proportional)


def start(problem: Problem, rules: AnyRule) -> alf_lb.State:
    """Every rule before its first update, `[row, ...]`."""
    return jax.vmap(lambda rule: alf_lb.init(problem, alf_lb.Params(1, rule)))(rules)


def advance(problem: Problem, rules: AnyRule, state: alf_lb.State, steps: int, *, record_switches: bool = False):
    """`(state, history, switched)` after so many updates of every rule; `history` has steps + 1 rows on axis 1."""

    def one(rule, state):
        params = alf_lb.Params(steps, rule, record_switches)
        return alf_lb.run(problem, params, state=state)

    result = jax.vmap(one)(rules, state)
    return result.state, alf_lb.history(result), result.trace.switched
