"""Ways of balancing that are compared on a language model, as rows of text, and one router that is any of them.

A row is `none`; `aux A` or `aux_global A`, the load-balancing loss with weight A whose loads are those of a micro-batch
or of the whole batch; `RULE SCHEDULE U`, a bias update of that step size; or `quantile`, the price of the last batch.
All choose the top-K of biased scores. What differs between rows enters one compiled program as numbers.
"""

from collections.abc import Sequence
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from research.balancing import assignment, balance_losses, quantile_router
from research.balancing.bias_update import RULES, SCHEDULES, BiasState, Rule
from research.balancing.loss_free import LossFree
from research.balancing.routing import NOTHING, Wrapper
from research.core import validate as checks

__all__ = ["Contest", "Row", "contest", "rows"]


class Row(NamedTuple):
    """A row, read."""

    method: str  # "none", "aux", "aux_global", "quantile", or "RULE SCHEDULE"
    value: float  # weight or step size; 0 of those that have none


def rows(texts: Sequence[str]) -> list[Row]:
    """Reads rows. Raises ValueError, naming the row, for one that is none of the above."""
    return [_row(text) for text in texts]


def _row(text: str) -> Row:
    allowed = "be none, quantile, aux A, aux_global A, or RULE SCHEDULE U with numbers A and U >= 0"
    *names, last = text.split() or [""]
    if not names:
        checks.require(last in ("none", "quantile"), "row", allowed, repr(text))
        return Row(last, 0.0)
    known = names[0] in ("aux", "aux_global") if len(names) == 1 else names[0] in RULES and names[-1] in SCHEDULES
    try:
        value = float(last)
    except ValueError:
        value = -1.0
    checks.require(known and len(names) <= 2 and value >= 0, "row", allowed, repr(text))
    return Row(" ".join(names), value)


class Contest(Wrapper):
    """Top-K of biased scores whose bias or loss is that of one row."""

    router: LossFree
    updates: tuple[Rule, ...]  # the kinds of rows that move a bias, all with this row's step size
    kind: jax.Array  # which of them; their number for the quantile dual
    local_weight: jax.Array  # of the loss with loads of a micro-batch
    global_weight: jax.Array  # of that with loads of the batch
    sequences: int = eqx.field(static=True)  # of a micro-batch; 0 where no row is `aux`
    sweeps: int = eqx.field(static=True)  # of the quantile dual over each batch; 0 where no row is that

    def at_inference(self):
        return eqx.tree_at(lambda contest: contest.kind, self, jnp.int32(-1))  # nothing follows a batch

    def route(self, state: BiasState, logits, context=NOTHING):
        routing = self.router.route(state, logits, context)
        if not self.sweeps:
            return routing
        scores = routing.aux["scores"]

        def arrive():
            problem = assignment.Problem(scores, self.top_k, context.valid)
            return quantile_router.swept(problem, state.bias.astype(scores.dtype), self.sweeps)

        bias = jax.lax.stop_gradient(state.bias).astype(scores.dtype)
        summary = jax.lax.cond(self.kind == len(self.updates), arrive, lambda: bias)
        return routing._replace(aux=routing.aux | {"summary": summary.astype(state.bias.dtype)})

    def update(self, state: BiasState, load, summary=()):
        moved = [lambda rule=rule: rule.update(state, load, self.top_k) for rule in self.updates]
        if self.sweeps:
            moved.append(lambda: state._replace(bias=summary, updates=state.updates + 1))
        return jax.lax.switch(self.kind, moved)

    def loss(self, logits, routing, load_share, context=NOTHING):
        scores = routing.aux["scores"]

        def alone():
            micro = context.sequence // self.sequences
            return balance_losses.sequence_wise(scores, routing.index, routing.keep, micro, valid=context.valid)

        def together():
            return balance_losses.load_balancing(scores, load_share, valid=context.valid)

        zero = jnp.zeros((), scores.dtype)
        local = jax.lax.cond(self.local_weight > 0, alone, lambda: zero) if self.sequences else zero
        whole = jax.lax.cond(self.global_weight > 0, together, lambda: zero)
        return self.local_weight * local + self.global_weight * whole


def contest(size, texts: Sequence[str], *, gate: str, sequences: int, sweeps: int = 2) -> Contest:
    """The router of every row, stacked on a leading axis.

    Args:
      size: of the model.
      texts: rows.
      gate: "sigmoid" or "softmax"; the bias is added to these scores, the chosen ones are renormalised.
      sequences: of a micro-batch, for `aux`.
      sweeps: of the quantile dual.
    """
    found = rows(texts)
    moving = [row.method for row in found if row.method not in ("none", "quantile", "aux", "aux_global")]
    names = list(dict.fromkeys(moving)) or ["sign const"]
    dual = sweeps if any(row.method == "quantile" for row in found) else 0
    grouped = sequences if any(row.method == "aux" for row in found) else 0

    def one(row: Row) -> Contest:
        moves = row.method in names
        size_of_step = jnp.float32(row.value if moves else 0.0)
        updates = tuple(Rule(*name.split(), step_size=size_of_step) for name in names)
        kind = names.index(row.method) if moves else len(names) if row.method == "quantile" else 0
        weights = [jnp.float32(row.value if row.method == name else 0.0) for name in ("aux", "aux_global")]
        base = LossFree(size.experts, size.top_k, gate=gate)
        return Contest(base, updates, jnp.int32(kind), *weights, grouped, dual)

    return jax.tree.map(lambda *leaves: jnp.stack([jnp.asarray(leaf) for leaf in leaves]), *map(one, found))
