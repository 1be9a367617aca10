"""Shapes of the language models, and how many parameters each has.

`tiny` is for tests, `laptop20m` for figures on a laptop, `pod1b` and `pod3b` for slices.
Source: `han:25`, the authors' code, for pod1b; `wang:24`, 3B, as the same code shapes it, for pod3b.
"""

import dataclasses

from research.core import validate as checks

__all__ = ["SIZES", "Size", "num_parameters", "size"]


@dataclasses.dataclass(frozen=True)
class Size:
    """Shape of a decoder whose layer 0 is dense and whose other layers have experts.

    Attributes:
      vocabulary: tokens.
      width: of the residual stream.
      layers: all of them, >= 2.
      heads: of attention; they divide the width into even parts.
      experts, top_k: routed experts of a layer, and how many a token takes.
      shared: experts that every token takes; together one of `shared` times the width.
      expert_width, dense_width: hidden widths of an expert, and of the feed-forward part of layer 0.
    """

    vocabulary: int
    width: int
    layers: int
    heads: int
    experts: int
    top_k: int
    shared: int
    expert_width: int
    dense_width: int

    def __post_init__(self):
        for field in dataclasses.fields(self):
            least = {"layers": 2, "experts": 2, "shared": 0}.get(field.name, 1)
            checks.at_least(f"Size.{field.name}", getattr(self, field.name), least)
        checks.require(self.top_k <= self.experts, "Size.top_k", f"be <= the {self.experts} experts", self.top_k)
        fits = self.width % (2 * self.heads) == 0
        checks.require(fits, "Size.heads", f"divide the width {self.width} into even parts", self.heads)

    @property
    def expert_layers(self) -> int:
        """Layers with experts: all but the first."""
        return self.layers - 1


SIZES = {
    "tiny": Size(256, 128, 4, 4, 16, 2, 1, 64, 256),
    "laptop20m": Size(256, 256, 8, 8, 32, 4, 2, 96, 704),
    "pod1b": Size(32_064, 1024, 9, 8, 64, 6, 2, 528, 2816),
    "pod3b": Size(32_064, 1280, 11, 10, 64, 6, 2, 880, 3520),
}


def size(name: str) -> Size:
    """The size called so. Raises ValueError for another name."""
    checks.one_of("size", name, tuple(SIZES))
    return SIZES[name]


def num_parameters(size: Size, router_width: int | None = None) -> int:
    """2 V d + 4 n d^2 + 3 d f + (n - 1) ((E + S) 3 d g + d E) + (2 n + 1) d, with n layers, widths d, f, g.

    Args:
      router_width: the router's logits, where they are more than the experts (null experts).
    """
    logits = size.experts if router_width is None else router_width
    experts = (size.experts + size.shared) * 3 * size.width * size.expert_width + size.width * logits
    return (
        2 * size.vocabulary * size.width
        + size.layers * 4 * size.width**2
        + 3 * size.width * size.dense_width
        + size.expert_layers * experts
        + (2 * size.layers + 1) * size.width
    )
