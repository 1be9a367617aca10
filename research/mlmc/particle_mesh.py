"""Particle-mesh N-body simulation: gravity of collisionless matter in an expanding periodic box, kick-drift-kick.

The force of particles painted on a mesh (CIC) is that of lap phi = delta, by Fourier transforms, read with the same
weights. Few steps make a fast surrogate and many an accurate simulation; both begin from one white noise, which is a
function of the key alone. With the "fastpm" factors every plane wave moves as in Zel'dovich's solution for any number
of steps, so that large scales are right from two steps on; "standard" ones integrate the equations of motion between
the steps and are right as the steps vanish. Both are symmetric and of second order.
Source: mesh and forces `hockney:88`; factors `feng:16` (fastpm) and `quinn:97` (standard). Departures from `feng:16`:
momenta are known half-way in ln a, gradients are exact derivatives of the modes below half the mesh.

Units: lengths in Mpc/h, momenta a^3 E dx/da in H_0 Mpc/h, forces -grad phi in Mpc/h; N particles and M mesh points a
side. Diagnostics: a force that conserves momentum, and moves of less than a mesh spacing.
"""

from typing import Literal, NamedTuple, get_args

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from research.core import prng, status
from research.core import validate as checks
from research.core.loops import scan_steps
from research.core.types import Array, Float, Int, Key
from research.mlmc import fields, fourier, lagrangian, painting
from research.mlmc.cosmology import Cosmology, expansion, growth, growth_rate, integral, linear_power

__all__ = [
    "Info", "Params", "Problem", "Result", "State", "example", "factors", "force", "init", "linear_modes", "positions",
    "run", "schedule", "step",
]  # fmt: skip

_FACTORS = Literal["fastpm", "standard"]


class Problem(eqx.Module):
    """A universe in a box."""

    cosmology: Cosmology
    box: float | Float[Array, ""]  # side, Mpc/h, > 0

    def __check_init__(self):
        checks.positive("Problem.box", self.box)


class Params(eqx.Module):
    """How it is simulated; `schedule` makes the scale factors."""

    scale_factors: Float[Array, " S"]  # increasing, in (0, 1]: the first of the initial conditions, then of each step
    num_steps: int = eqx.field(static=True, default=1)  # of this call, <= S - 1 altogether
    particles: int = eqx.field(static=True, default=32)  # N a side, even
    mesh: int = eqx.field(static=True, default=32)  # M a side of the force, even
    order: int = eqx.field(static=True, default=2)  # of the initial displacements: 1 or 2
    factors: _FACTORS = eqx.field(static=True, default="fastpm")

    def __check_init__(self):
        checks.at_least("Params.num_steps", self.num_steps, 1)
        for name in ("particles", "mesh"):
            value = getattr(self, name)
            checks.require(value >= 2 and value % 2 == 0, f"Params.{name}", "be even and >= 2", value)
        checks.one_of("Params.order", self.order, (1, 2))
        checks.one_of("Params.factors", self.factors, get_args(_FACTORS))
        checks.shape("Params.scale_factors", self.scale_factors, (None,))
        if checks.is_concrete(self.scale_factors):
            a = np.asarray(self.scale_factors)
            fine = a.size >= 2 and a[0] > 0 and (np.diff(a) > 0).all() and a[-1] <= 1 + 1e-6
            checks.require(fine, "Params.scale_factors", "hold at least two and increase within (0, 1]", a.tolist())


class State(NamedTuple):
    step: Int[Array, ""]  # steps done
    displacement: Float[Array, "3 N N N"]  # of each particle from its lattice point
    momentum: Float[Array, "3 N N N"]
    force: Float[Array, "3 N N N"]  # where the particles are: one force a step


class Info(NamedTuple):
    scale_factor: Float[Array, ""]  # after the step
    spread: Float[Array, ""]  # rms displacement from the lattice, Mpc/h
    net_momentum: Float[Array, ""]  # |mean momentum| / rms momentum: 0 but for rounding
    largest_move: Float[Array, ""]  # of a particle along an axis in this step, in mesh spacings: below about 1


class Result(NamedTuple):
    displacement: Float[Array, "3 N N N"]
    momentum: Float[Array, "3 N N N"]
    state: State
    trace: Info
    status: Int[Array, ""]


def schedule(first: float, last: float, num_steps: int, spacing: Literal["linear", "log"] = "linear") -> np.ndarray:
    """`num_steps` + 1 scale factors from `first` to `last`, equally far apart or in equal ratios."""
    checks.one_of("spacing", spacing, ("linear", "log"))
    checks.interval("(first, last)", (first, last))
    checks.positive("first", first)
    return (np.linspace if spacing == "linear" else np.geomspace)(first, last, num_steps + 1).astype(np.float32)


def linear_modes(problem: Problem, key: Key, particles: int) -> Array:
    """Modes of the linear density today on the lattice; the noise is the stream "white noise" of the key."""
    dtype = jnp.asarray(problem.box).dtype
    noise = fields.white_noise(prng.stream(key, "white noise"), particles, dtype)
    length = jnp.sqrt(fields.squared_numbers(particles).astype(dtype)) * (2 * jnp.pi / problem.box)
    return fields.density(noise, linear_power(problem.cosmology, length), problem.box)


def positions(problem: Problem, displacement: Float[Array, "3 N N N"], mesh: int) -> Float[Array, "3 N N N"]:
    """Where the particles are, in spacings of a mesh of `mesh`^3 points; not wrapped."""
    scale = jnp.asarray(mesh / problem.box, displacement.dtype)
    return painting.lattice(displacement.shape[-1], mesh, displacement.dtype) + displacement * scale


def force(problem: Problem, params: Params, displacement: Float[Array, "3 N N N"]) -> Float[Array, "3 N N N"]:
    """-grad phi at the particles, lap phi = delta of the particles themselves."""
    at = positions(problem, displacement, params.mesh)
    painted = painting.paint(at, params.mesh) * (params.mesh / params.particles) ** 3
    potential = lagrangian.inverse_laplacian(fourier.forward(painted), problem.box)
    return -painting.read(lagrangian.gradient(potential, problem.box), at)


def factors(
    cosmology: Cosmology, a: Float[Array, ""], b: Float[Array, ""], kind: _FACTORS = "fastpm"
) -> tuple[Float[Array, ""], Float[Array, ""], Float[Array, ""]]:
    """First kick, drift and second kick of the step from scale factor a to b: what multiplies force, momentum, force.

    "fastpm" takes the change of Zel'dovich's momentum over his force, and of his position over his momentum;
    "standard" the integrals of the equations of motion.
    """
    middle = jnp.sqrt(a * b)
    if kind == "standard":
        pull = 1.5 * cosmology.omega_m
        kicks = (pull * integral(cosmology, a, middle, 2), pull * integral(cosmology, middle, b, 2))
        return kicks[0], integral(cosmology, a, b, 3), kicks[1]
    times = jnp.stack([a, middle, b])
    grown = growth(cosmology, times)
    momentum = times**2 * expansion(cosmology, times) * growth_rate(cosmology, times) * grown  # a^3 E dD/da
    kicks = (momentum[1] - momentum[0]) / grown[0], (momentum[2] - momentum[1]) / grown[2]
    return kicks[0], (grown[2] - grown[0]) / momentum[1], kicks[1]


def init(problem: Problem, params: Params, key: Key | None = None) -> State:
    """Particles displaced by Lagrangian perturbation theory at the first scale factor, and their force."""
    if key is None:
        raise ValueError("key must be given: the initial density is drawn from it, got None.")
    delta = linear_modes(problem, key, params.particles)
    start = jnp.asarray(params.scale_factors, delta.real.dtype)[0]
    displacement, momentum = lagrangian.particles(problem.cosmology, delta, problem.box, start, order=params.order)
    return State(jnp.int32(0), displacement, momentum, force(problem, params, displacement))


def step(problem: Problem, params: Params, state: State) -> tuple[State, Info]:
    """Half a kick, a drift, and half a kick with the new force."""
    dtype = state.displacement.dtype
    times = jnp.asarray(params.scale_factors, dtype)
    a, b = times[state.step], times[state.step + 1]
    first, drift, second = factors(problem.cosmology, a, b, params.factors)
    momentum = state.momentum + first * state.force
    move = drift * momentum
    displacement = state.displacement + move
    pull = force(problem, params, displacement)
    momentum = momentum + second * pull
    rms = jnp.sqrt(jnp.mean(momentum**2))
    info = Info(
        b, jnp.sqrt(3 * jnp.mean(displacement**2)),
        jnp.linalg.norm(momentum.mean(axis=(1, 2, 3))) / jnp.where(rms > 0, rms, 1),
        jnp.max(jnp.abs(move)) * jnp.asarray(params.mesh / problem.box, dtype),
    )  # fmt: skip
    return State(state.step + 1, displacement, momentum, pull), info


def run(problem: Problem, params: Params, key: Key | None = None, *, state: State | None = None) -> Result:
    """Runs `params.num_steps` steps; pass `state` to continue an earlier run exactly where it stopped."""
    state = init(problem, params, key) if state is None else state
    note = " ({available} scale factors after the first, {done} used)"
    checks.steps_left(params.num_steps, params.scale_factors.shape[0] - 1, state.step, note)
    state, trace = scan_steps(step, problem, params, state, params.num_steps)
    return Result(state.displacement, state.momentum, state, trace, status.of(state))


def example(key: Key) -> tuple[Problem, Params]:
    """Eight particles a side in 50 Mpc/h, six steps."""
    del key
    return Problem(Cosmology(), jnp.float32(50)), Params(schedule(0.1, 1, 6), num_steps=6, particles=8, mesh=8)
