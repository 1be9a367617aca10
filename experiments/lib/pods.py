"""Configs at slice scale, `configs/<family>/<question>_pod.py`: which there are, on what mesh, and how they grow.

The numbers of such a config are meant for 256 chips. Beside `get_config` it may say

    MESH = "data:-1,model:8"                      # as --mesh takes it; "rep:-1" where nothing is said
    GROWS = ("problem.stripes", "run.batch_size") # fields in proportion to the chips; ("run.replicates",) otherwise

so that on any number of chips each has as much to do. Nothing here imports jax.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from experiments.lib import config as config_lib
from experiments.lib.config import CHECKOUT
from experiments.lib.errors import UsageError

__all__ = ["CHIPS", "Pod", "find", "pods", "selected"]

#: That the numbers of a pod config are meant for: a whole v5e or v6e pod.
CHIPS = 256


class Pod(NamedTuple):
    """A config and what its file says beside it.

    Attributes:
      reference: `path.py[:arg]`, relative to the checkout where it lies in it.
      mesh: text of `--mesh`.
      grows: dotted fields, ints in proportion to the number of chips.
    """

    reference: str
    mesh: str
    grows: tuple[str, ...]

    @property
    def name(self) -> str:
        """`<family>/<question>`."""
        path = Path(self.reference.partition(":")[0])
        return f"{path.parent.name}/{path.stem.removesuffix('_pod')}"

    def on(self, chips: int) -> dict[str, Any]:
        """Overrides that give each of so many chips as much to do as it has on `CHIPS`; {} for these. Rounded up."""
        if chips == CHIPS:
            return {}
        config = config_lib.resolve(self.reference).config
        return {field: math.ceil(operator.attrgetter(field)(config) * chips / CHIPS) for field in self.grows}


def find(reference: str) -> Pod:
    """The config of a reference, whether it is meant for a slice or not. Raises UsageError if there is none."""
    path, _ = config_lib.find(reference)
    module = config_lib.load_module(path, "get_config")
    return Pod(reference, getattr(module, "MESH", "rep:-1"), tuple(getattr(module, "GROWS", ("run.replicates",))))


def pods() -> list[Pod]:
    """Every pod config of the checkout, by name."""
    paths = sorted((CHECKOUT / "configs").glob("*/*_pod.py"))
    return [find(str(path.relative_to(CHECKOUT))) for path in paths]


def selected(known: Sequence[Pod], only: Iterable[str]) -> list[Pod]:
    """Those named, in the order of the names; a family stands for all of its own, nothing for all.

    Raises:
      UsageError: a name that nothing has.
    """
    chosen: dict[str, Pod] = {}
    wanted = [name.removeprefix("configs/").removesuffix(".py").removesuffix("_pod") for name in only]
    for name in wanted:
        found = {pod.name: pod for pod in known if name in (pod.name, pod.name.partition("/")[0])}
        if not found:
            hint = config_lib.nearest(name, [pod.name for pod in known])
            raise UsageError(f"--only: no pod config {name}" + (f"; nearest: {hint}." if hint else "."))
        chosen |= found
    return list(chosen.values()) if wanted else list(known)
