"""Monotone linear operators without a G: solution and resolvent are known, so bounds can be checked exactly."""

import equinox as eqx
import jax
import jax.numpy as jnp

from research.halpern.inclusions import Inclusion, Problem


class Linear(Inclusion):
    """F(u) = matrix u - shift, one component per column: F_i(u) = n matrix[:, i] u_i - shift, drawn uniformly."""

    matrix: jax.Array
    shift: jax.Array

    num_indices: int = eqx.field(static=True, default=1)
    cocoercive: bool = eqx.field(static=True, default=False)

    @property
    def num_components(self):
        return self.matrix.shape[0]

    @property
    def lipschitz(self):
        return jnp.sqrt(self.num_components * jnp.max(jnp.sum(self.matrix**2, axis=0)))

    @property
    def lipschitz_full(self):
        return jnp.linalg.norm(self.matrix, 2)

    def full(self, u):
        return self.matrix @ u - self.shift

    def difference(self, draws, new, old):
        drawn = draws[:, 0]
        return self.matrix[:, drawn] @ ((new - old)[drawn]) * (self.num_components / drawn.shape[0])

    def sample(self, key, shape):
        return jax.random.randint(key, (*shape, 1), 0, self.num_components)

    def prox(self, v, step_size):
        return v

    def resolvent(self, u, scale):
        return jnp.linalg.solve(
            jnp.eye(self.num_components, dtype=u.dtype) + scale * self.matrix, u + scale * self.shift
        )


def monotone(key, size, skew):
    """A random problem with solution at distance R: (problem, R); `skew` in [0, 1] is the weight of the skew part."""
    of_skew, of_psd, of_solution, of_start = jax.random.split(key, 4)
    square = jax.random.normal(of_skew, (size, size))
    half = jax.random.normal(of_psd, (size, size // 2))
    matrix = skew * (square - square.T) / 2 + (1 - skew) * half @ half.T / size
    solution, start = jax.random.normal(of_solution, (size,)), jax.random.normal(of_start, (size,))
    return Problem(Linear(matrix, matrix @ solution), start), jnp.linalg.norm(start - solution)


def instances(key, count, size):
    """`count` problems with their distances, from skew to mixed to symmetric, on a leading axis."""
    return jax.vmap(lambda key, skew: monotone(key, size, skew))(
        jax.random.split(key, count), jnp.linspace(1.0, 0.1, count)
    )


def rotation(shift=0.0):
    """F(x, y) = (y, -x) in the plane, less a shift."""
    return Linear(jnp.array([[0.0, 1.0], [-1.0, 0.0]]), jnp.full(2, shift))
