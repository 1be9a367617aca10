"""Linear F without constraints: a quadratic program hard for first-order methods, bilinear problems, resolvents.

The hard program is min over x of max over y of x'Hx/2 - h'x - <Ax - b, y>, with F(x, y) = (Hx - h - A'y, Ax - b) and
G = 0. F is monotone, not cocoercive: class B.
Source: `ouyang:21` for the program, `cai:24` for its split.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from research.core import validate
from research.core.types import Array, Float, Key
from research.halpern import games, proxes
from research.halpern.inclusions import Inclusion, Point

__all__ = ["SaddleQuadratic", "bilinear", "exact_resolvent", "ouyang_xu", "saddle_quadratic"]


class SaddleQuadratic(Inclusion):
    """F(x, y) = (Hx - h - A'y, Ax - b) for square A; a point is a pair of arrays `[n]`; built by `saddle_quadratic`.

    Component i is n (H[:, i] x_i - A[i, :] y_i, A[:, i] x_i) - (h, b), drawn uniformly.
    """

    curvature: Float[Array, "n n"]  # H, symmetric and positive semidefinite
    coupling: Float[Array, "n n"]  # A
    coupling_transposed: Float[Array, "n n"]
    linear: Float[Array, "n"]  # h
    level: Float[Array, "n"]  # b
    lipschitz: Float[Array, ""]
    lipschitz_full: Float[Array, ""]

    @property
    def num_components(self) -> int:
        return self.coupling.shape[0]

    @property
    def num_indices(self) -> int:
        return 1

    @property
    def cocoercive(self) -> bool:
        return False

    def full(self, u):
        x, y = u

        def times(matrix, vector):
            return jnp.matmul(matrix, vector, precision=jax.lax.Precision.HIGHEST)

        descent = times(self.curvature, x) - self.linear - times(self.coupling_transposed, y)
        return descent, times(self.coupling, x) - self.level

    def difference(self, draws, new, old):
        index = draws[:, 0]
        scale = self.num_components / index.shape[0]
        in_x = scale * (new[0][index] - old[0][index])
        in_y = scale * (new[1][index] - old[1][index])

        def mix(weights, rows):
            return jnp.matmul(weights, rows[index], precision=jax.lax.Precision.HIGHEST)

        return mix(in_x, self.curvature) - mix(in_y, self.coupling), mix(in_x, self.coupling_transposed)

    def sample(self, key, shape):
        return jax.random.randint(key, (*shape, 1), 0, self.num_components, jnp.int32)

    def prox(self, v, step_size):
        return v


def saddle_quadratic(
    curvature: Float[Array, "n n"], coupling: Float[Array, "n n"], linear: Float[Array, "n"], level: Float[Array, "n"]
) -> SaddleQuadratic:
    """The problem of H, A, h and b, with exact constants.

    L^2 is n times the largest eigenvalue of the 2 x 2 forms that the components have in (x_i, y_i). H must be symmetric
    and positive semidefinite (not tested: F is monotone only then).

    Raises ValueError for shapes that do not match and entries that are not finite.
    """
    curvature = jnp.asarray(curvature)
    validate.shape("curvature", curvature, (None, None))
    n = curvature.shape[0]
    validate.at_least("number of components", n, 1)
    coupling, linear, level = (jnp.asarray(a, curvature.dtype) for a in (coupling, linear, level))
    for name, array, expected in (
        ("curvature", curvature, (n, n)),
        ("coupling", coupling, (n, n)),
        ("linear", linear, (n,)),
        ("level", level, (n,)),
    ):
        validate.shape(name, array, expected)
        validate.finite(name, array)
    in_x = jnp.sum(curvature**2 + coupling**2, axis=0)
    in_y = jnp.sum(coupling**2, axis=1)
    cross = jnp.sum(curvature.T * coupling, axis=1)
    largest = jnp.max((in_x + in_y) / 2 + jnp.hypot((in_x - in_y) / 2, cross))
    jacobian = jnp.block([[curvature, -coupling.T], [coupling, jnp.zeros_like(coupling)]])
    validate.positive("largest entry of curvature and coupling", jnp.max(jnp.abs(jacobian)))
    norm = games.spectral_norm(jacobian)
    return SaddleQuadratic(curvature, coupling, coupling.T.copy(), linear, level, jnp.sqrt(n * largest), norm)


def ouyang_xu(n: int, dtype=None) -> tuple[SaddleQuadratic, Point]:
    """The hard program of size n, and its solution x = (1, ..., n), y = -1/2.

    A is a quarter of the matrix with ones on the antidiagonal and, in the first n - 1 rows, -1 just left of them;
    H = 2 A'A, b = (1/4, ..., 1/4), h = e_n / 4.

    Source: `ouyang:21`; the solution is ours, tested.
    """
    validate.at_least("n", n, 1)
    anti = jnp.eye(n, dtype=dtype)[:, ::-1]
    shifted = jnp.eye(n, k=1, dtype=dtype)[:, ::-1]
    coupling = (anti - shifted) / 4
    curvature = 2 * jnp.matmul(coupling.T, coupling, precision=jax.lax.Precision.HIGHEST)
    linear = jnp.zeros(n, anti.dtype).at[-1].set(0.25)
    level = jnp.full(n, 0.25, anti.dtype)
    solution = jnp.arange(1, n + 1, dtype=anti.dtype), jnp.full(n, -0.5, anti.dtype)
    return saddle_quadratic(curvature, coupling, linear, level), solution


def bilinear(key: Key, spectrum: Float[Array, "n"]) -> games.MatrixGame:
    """min over x of max over y of y'Ax without constraints, A = U diag(spectrum) V' with random orthogonal U, V.

    The solution is 0. Drawn by importance: L is the Euclidean norm of the spectrum, L_F its largest entry.
    """
    spectrum = jnp.asarray(spectrum)
    validate.shape("spectrum", spectrum, (None,))
    validate.positive("spectrum", spectrum)
    n, dtype = spectrum.shape[0], spectrum.dtype
    left, right = (jax.random.orthogonal(part, n, dtype=dtype) for part in jax.random.split(key))
    matrix = jnp.matmul(left * spectrum[None, :], right, precision=jax.lax.Precision.HIGHEST)
    return games.matrix_game(matrix, centred=False, constraint=proxes.Nothing())


def exact_resolvent(inclusion: Inclusion, like: Point, scale: float) -> Callable[[Point], Point]:
    """J(u) = (I + scale F)^{-1} u of an affine F with G = 0, by a factorisation made once.

    Args:
      inclusion: its `full` must be affine and its prox the identity (neither is tested).
      like: any point, for its shape.
      scale: c > 0.
    """
    validate.positive("scale", scale)
    flat, unravel = ravel_pytree(like)
    zero = jnp.zeros_like(flat)

    def full(v):
        return ravel_pytree(inclusion.full(unravel(v)))[0]

    jacobian, offset = jax.jacfwd(full)(zero), full(zero)
    factors = jax.scipy.linalg.lu_factor(jnp.eye(flat.shape[0], dtype=flat.dtype) + scale * jacobian)

    def resolvent(u: Point) -> Point:
        return unravel(jax.scipy.linalg.lu_solve(factors, ravel_pytree(u)[0] - scale * offset))

    return resolvent
