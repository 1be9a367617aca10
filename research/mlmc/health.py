"""The health-economic decision with 19 uncertain parameters on which EVPPI methods are tried, and its exact answer.

Two treatments cost money (drugs, stays in hospital) and bring health in two ways, valued at `willingness` per unit:

    f_1 = willingness (x5 x6 x7 + x8 x9 x10) - (x1 + x2 x3 x4),
    f_2 = willingness (x14 x15 x16 + x17 x18 x19) - (x11 + x12 x13 x4).

All parameters are normal; x5, x7, x14, x16 have correlations 0.6, the others are independent. Wanted is EVPPI of X =
(x5, x14). Model: `brennan:07`; as a test of multilevel methods: `giles:19`.
"""

import math

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from scipy import special

from research.core import validate
from research.core.types import Array, Float
from research.mlmc.decisions import Decision
from research.mlmc.problems import normals

__all__ = [
    "CORRELATED",
    "CORRELATION",
    "PARAMETERS",
    "HealthDecision",
    "health_decision",
    "information",
    "mean_benefits",
]

#: Mean and standard deviation of x1, ..., x19.
PARAMETERS = {
    1: (1000, 1), 2: (0.1, 0.02), 3: (5.2, 1), 4: (400, 200), 5: (0.7, 0.1), 6: (0.3, 0.1), 7: (3, 0.5),
    8: (0.25, 0.1), 9: (-0.1, 0.02), 10: (0.5, 0.2), 11: (1500, 1), 12: (0.08, 0.02), 13: (6.1, 1), 14: (0.8, 0.1),
    15: (0.3, 0.05), 16: (3, 1), 17: (0.2, 0.05), 18: (-0.1, 0.02), 19: (0.5, 0.2),
}  # fmt: skip
#: The parameters that hang together, and how much each pair does.
CORRELATED, CORRELATION = (5, 14, 7, 16), 0.6

_MEAN = {k: mean for k, (mean, _) in PARAMETERS.items()}
_DEVIATION = {k: deviation for k, (_, deviation) in PARAMETERS.items()}
#: What becomes known, what is correlated with it, the rest.
_KNOWN, _LINKED = (5, 14), (7, 16)
_FREE = tuple(k for k in PARAMETERS if k not in CORRELATED)
#: Numbers in f_1 and f_2: cost, cost per stay and stays, factors of what is partly known, factors of the rest.
_TREATMENTS = ((1, 2, 3, (5, 6, 7), (8, 9, 10)), (11, 12, 13, (14, 15, 16), (17, 18, 19)))
#: The lower triangular root of the correlations in the order of `CORRELATED`.
_ROOT = np.linalg.cholesky(CORRELATION + (1 - CORRELATION) * np.eye(4))

#: Quadrature over x5: parts of [-reach, reach] standard deviations, Gauss-Legendre points in each.
_REACH, _PANELS, _POINTS = 10.0, 40, 20


class HealthDecision(Decision):
    willingness: Float[Array, ""]  # money per unit of health
    best: int = eqx.field(static=True)
    exact: float | None = eqx.field(static=True, default=None)

    @property
    def kinds(self):
        return normals(2, 17)

    def init(self, u):
        """Standardized x5 and x14, correlated; the rest comes with Y."""
        known = jnp.asarray(_ROOT[:2, :2], u.dtype) @ u
        return known, u, jnp.zeros(17, u.dtype)

    def transition(self, d, state, u):
        known, first, _ = state
        linked = jnp.asarray(_ROOT[2:], u.dtype) @ jnp.concatenate([first, u[:2]])
        return known, first, jnp.concatenate([linked, u[2:]])

    def benefits(self, state):
        known, _, rest = state
        normal = dict(zip((*_KNOWN, *_LINKED, *_FREE), jnp.concatenate([known, rest]), strict=True))
        x = {k: _MEAN[k] + _DEVIATION[k] * normal[k] for k in PARAMETERS}
        first = self.willingness * (x[5] * x[6] * x[7] + x[8] * x[9] * x[10]) - (x[1] + x[2] * x[3] * x[4])
        second = self.willingness * (x[14] * x[15] * x[16] + x[17] * x[18] * x[19]) - (x[11] + x[12] * x[13] * x[4])
        return jnp.stack([first, second])

    def features(self, state):
        """Monomials up to degree 3 of the standardized x5 and x14."""
        x, y = state[0]
        return jnp.stack([x**i * y**j for i in range(4) for j in range(4 - i)])


def health_decision(willingness: float = 1e4, dtype=jnp.float32) -> HealthDecision:
    """The decision with its exact EVPPI of (x5, x14). Raises ValueError unless willingness > 0."""
    validate.positive("willingness", willingness)
    best = int(np.argmax(mean_benefits(willingness)))
    return HealthDecision(jnp.asarray(willingness, dtype), best, information(willingness))


def _benefit_terms(willingness: float, option: int) -> tuple[float, tuple[int, int, int]]:
    """The part of E f that no correlation touches, and the three factors of the other one, the known one first."""
    cost, per, stays, factors, other = _TREATMENTS[option]
    fixed = willingness * math.prod(_MEAN[k] for k in other)
    return fixed - _MEAN[cost] - _MEAN[per] * _MEAN[stays] * _MEAN[4], factors


def mean_benefits(willingness: float = 1e4) -> np.ndarray:
    """E f_1 and E f_2: `[2]`."""
    found = []
    for option in range(2):
        fixed, (known, free, linked) = _benefit_terms(willingness, option)
        product = _MEAN[known] * _MEAN[linked] + CORRELATION * _DEVIATION[known] * _DEVIATION[linked]
        found.append(fixed + willingness * _MEAN[free] * product)
    return np.array(found)


def information(willingness: float = 1e4) -> float:
    """EVPPI of (x5, x14), by quadrature in float64.

    E[f_1 - f_2 | x5, x14] is a quadratic of the two. With x5 fixed it is one of x14 alone, whose roots are known and
    whose positive part has an elementary integral; over x5 the rule of Gauss and Legendre in many parts does the rest.
    """
    # Standardized s = x5 and t = x14: coefficients of s**i t**j in E[f_1 - f_2 | s, t].
    table = np.zeros((3, 3))
    regress = CORRELATION / (1 + CORRELATION)  # of each standardized linked parameter on s and on t
    for option, sign in ((0, 1), (1, -1)):
        fixed, (known, free, linked) = _benefit_terms(willingness, option)
        own = [_MEAN[known], _DEVIATION[known], 0.0] if option == 0 else [_MEAN[known], 0.0, _DEVIATION[known]]
        with_linked = [_MEAN[linked], regress * _DEVIATION[linked], regress * _DEVIATION[linked]]
        scale = sign * willingness * _MEAN[free]
        exponents = ((0, 0), (1, 0), (0, 1))
        for (i, j), left in zip(exponents, own, strict=True):
            for (k, m), right in zip(exponents, with_linked, strict=True):
                table[i + k, j + m] += scale * left * right
        table[0, 0] += sign * fixed
    x, w = special.roots_legendre(_POINTS)
    edges = np.linspace(-_REACH, _REACH, _PANELS + 1)
    half = _REACH / _PANELS
    s = (edges[:-1, None] + half * (1 + x)).ravel()
    weights = np.tile(half * w, _PANELS) * np.exp(-(s**2) / 2) / math.sqrt(2 * math.pi)
    rows = np.stack([s**0, s, s**2], axis=1) @ table  # coefficients of 1, t, t**2 at every s
    deviation = math.sqrt(1 - CORRELATION**2)
    gains = [_positive_part(row, CORRELATION * at, deviation) for row, at in zip(rows, s, strict=True)]
    means = mean_benefits(willingness)
    return float(weights @ np.array(gains) + means[1] - means.max())


def _positive_part(row: np.ndarray, mean: float, deviation: float) -> float:
    """E max(c0 + c1 t + c2 t**2, 0) for a normal t."""
    c0, c1, c2 = row
    # In terms of a standard normal z, t = mean + deviation z.
    c0, c1, c2 = c0 + c1 * mean + c2 * mean**2, deviation * (c1 + 2 * c2 * mean), c2 * deviation**2
    roots = np.roots([c2, c1, c0])
    # Beyond 40 standard deviations there is nothing, and products of infinities with zeros are avoided.
    corners = np.clip(np.sort(roots[np.isreal(roots)].real), -40, 40)
    edges = np.concatenate([[-40.0], corners, [40.0]])
    middle = (edges[1:] + edges[:-1]) / 2
    density = np.exp(-(edges**2) / 2) / math.sqrt(2 * math.pi)
    mass, moment = np.diff(special.ndtr(edges)), -np.diff(density)
    part = c0 * mass + c1 * moment + c2 * (mass - np.diff(edges * density))
    return float(part[c0 + c1 * middle + c2 * middle**2 > 0].sum())
