"""Fine-grained experts: each of E experts split into m of a fraction 1/m of its width, m K chosen among m E.

More combinations at equal cost. Shared experts, which every token uses with weight one, are the model's own.
`split_experts` cuts gated linear experts so that the pieces of one sum to the whole.
Source: `dai:24`, sections 3.1 and 3.2.

Letters: `E` experts before the split, `K` of them per token, `m` pieces, `w` width of an expert, `d` features.
"""

from typing import Any

import equinox as eqx
import jax

from research.balancing.routing import NOTHING, Context, Router, Routing
from research.balancing.softmax_topk import SoftmaxTopK, check_experts
from research.core import validate as checks
from research.core.types import Array, Float, Key

__all__ = ["FineGrained", "example", "flops_per_token", "split_experts"]


class FineGrained(Router):
    """Top-(m K) of m E experts. Raises ValueError unless m >= 1 and 1 <= K <= E."""

    whole_experts: int = eqx.field(static=True)  # E
    whole_top_k: int = eqx.field(static=True)  # K
    split: int = eqx.field(static=True)  # m
    renormalise: bool = eqx.field(static=True, default=True)

    def __check_init__(self):
        checks.at_least("FineGrained.split", self.split, 1)
        check_experts("FineGrained", self.whole_experts, self.whole_top_k)

    @property
    def num_experts(self) -> int:
        return self.whole_experts * self.split

    @property
    def top_k(self) -> int:
        return self.whole_top_k * self.split

    def route(self, state, logits: Float[Array, "T E"], context: Context = NOTHING) -> Routing:
        return SoftmaxTopK(self.num_experts, self.top_k, self.renormalise).route(state, logits, context)


def flops_per_token(width: int, features: int, active: int, split: int = 1, num_shared: int = 0) -> float:
    """Multiplications and additions of gated linear experts per token: 6 d w per expert, whatever the split.

    Args:
      width: w of an expert before the split; shared experts have the width of a piece.
      active: K before the split.
    """
    return 6 * features * (width / split) * (active * split + num_shared)


def split_experts(experts: Any, split: int) -> Any:
    """Experts `{"gate": [E, d, w], "up": [E, d, w], "down": [E, w, d]}` cut to `[E m, d, w / m]`, `[E m, w / m, d]`.

    Piece j of expert e becomes expert m e + j. Raises ValueError where m does not divide w.
    """
    width = experts["down"].shape[1]
    checks.require(split >= 1 and width % split == 0, "split", f"divide the width {width}", split)

    def columns(w):
        number, features, _ = w.shape
        return w.reshape(number, features, split, -1).swapaxes(1, 2).reshape(number * split, features, -1)

    number, _, features = experts["down"].shape
    down = experts["down"].reshape(number * split, width // split, features)
    return {"gate": columns(experts["gate"]), "up": columns(experts["up"]), "down": down}


def example(key: Key):
    """Four experts cut in two; two of four become four of eight."""
    return FineGrained(4, 2, 2), jax.random.normal(key, (32, 8)), NOTHING
