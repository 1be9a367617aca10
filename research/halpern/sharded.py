"""Components of a linear model over the devices of a mesh: each holds a share of the rows, points are on all of them.

A full operator is the devices' own sums, added up; a batch is stratified, as many draws from every stratum of rows, so
that each device gathers rows of its own only. Either costs one sum of D numbers between devices: a latency of 5 to
10 us, which a step pays back where b D / S or n D / S exceeds about 10^6; below that, spread seeds or instances instead
(`research.halpern.lanes`). All methods run on the result as they are. What is drawn depends on the number of strata
and not on that of devices: one device with eight strata does what eight devices do, up to the rounding of sums.
Source: none, it is how the data is laid out; a stratified mean varies no more than that of independent draws.

Letters: `n` components, `S` strata, `b` draws, `D` columns.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from research.core import sharding, validate
from research.core.types import Array, Float
from research.halpern import finite_sums, sampling
from research.halpern.inclusions import Inclusion

__all__ = ["Sharded", "shard"]

#: Axis of the mesh that rows are split along.
AXIS = "data"


class Sharded(Inclusion):
    """A linear model in strata of rows; built by `shard`."""

    model: finite_sums.LinearModel  # rows padded with zeros to a multiple of the strata
    lipschitz: Float[Array, ""]
    lipschitz_full: Float[Array, ""]
    num_components: int = eqx.field(static=True)  # n, without the padding
    num_strata: int = eqx.field(static=True)
    mesh: Mesh | None = eqx.field(static=True)

    @property
    def num_indices(self) -> int:
        return 1

    @property
    def cocoercive(self) -> bool:
        return True

    def full(self, u):
        total = self._summed(self.model.summed, (P(AXIS), P(AXIS), P()))
        return total(self.model.rows, self.model.targets, u) / self.num_components

    def difference(self, draws, new, old):
        """Draws come by stratum, as `sample` arranges them."""

        def own(rows, targets, index, new, old):
            first = 0 if self.mesh is None else jax.lax.axis_index(AXIS) * len(rows)
            return self.model.summed_difference(rows, targets, index - first, None, new, old)

        total = self._summed(own, (P(AXIS), P(AXIS), P(AXIS), P(), P()))
        scale = len(self.model.rows) / (self.num_components * draws.shape[0])
        return scale * total(self.model.rows, self.model.targets, draws[:, 0], new, old)

    def sample(self, key, shape):
        """Uniform within strata: of `shape[-1]` draws, the first b / S lie in the first stratum, and so on.

        Raises ValueError where S does not divide b.
        """
        *leading, b = shape
        wanted = f"be a multiple of the {self.num_strata} strata"
        validate.require(b % self.num_strata == 0, "Params.batch", wanted, b)
        rows = len(self.model.rows) // self.num_strata
        inside = sampling.uniform(key, (*leading, self.num_strata, b // self.num_strata), rows)
        first = rows * jnp.arange(self.num_strata, dtype=jnp.int32)
        return (inside + first[(None,) * len(leading) + (slice(None), None)]).reshape(*shape, 1)

    def prox(self, v, step_size):
        return self.model.prox(v, step_size)

    def _summed(self, own, specs):
        if self.mesh is None:
            return own
        total = lambda *args: jax.lax.psum(own(*args), AXIS)  # noqa: E731
        return jax.shard_map(total, mesh=self.mesh, in_specs=specs, out_specs=P())


def shard(model: finite_sums.LinearModel, mesh: Mesh | None = None, num_strata: int | None = None) -> Sharded:
    """The model with its rows split over the axis `data` of a mesh.

    Rows of zeros fill up the last stratum; they are drawn like others, which makes L larger by their share.

    Args:
      model: of uniform draws.
      mesh: None for one device.
      num_strata: S, a multiple of the devices along `data`; None: as many as these.

    Raises:
      ValueError for a model with importance draws, a mesh without the axis, S that the devices do not divide, or S > n.
    """
    devices = 1
    if mesh is not None:
        validate.require(AXIS in mesh.shape, "mesh", f"have an axis {AXIS!r}", tuple(mesh.shape))
        devices = mesh.shape[AXIS]
    strata, n = devices if num_strata is None else num_strata, model.num_components
    validate.require(model.table is None, "model", 'be drawn by the law "uniform"', "one with a table")
    validate.in_range("num_strata", strata, 1, n)
    validate.require(strata % devices == 0, "num_strata", f"be a multiple of the {devices} devices", strata)
    missing = -n % strata
    rows = [jnp.pad(part, ((0, missing),) + ((0, 0),) * (part.ndim - 1)) for part in (model.rows, model.targets)]
    if mesh is not None:
        rows = sharding.put(rows, [NamedSharding(mesh, P(AXIS))] * 2)
    padded = eqx.tree_at(lambda m: (m.rows, m.targets, m.weight), model, (*rows, jnp.ones_like(rows[1])))
    lipschitz = model.lipschitz * ((n + missing) / n)
    return Sharded(padded, lipschitz, model.lipschitz_full, n, strata, mesh)
