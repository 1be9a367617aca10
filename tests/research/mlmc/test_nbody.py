"""The simulators of CARPool: noise shared by resolutions, growth against the equations of motion, plane waves, CIC,
spectra, momentum, symmetries, convergence, and arguments that are refused."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from research.core import prng
from research.mlmc import cosmology, fields, fourier, lagrangian, painting, particle_mesh, spectra, tracers

FLAT = cosmology.Cosmology()
BOX = 64.0


def test_growth_solves_its_equations(x64):
    """Linear growth and its rate to 1e-10, second order to the accuracy that its docstring states."""
    matter = FLAT.omega_m

    def rhs(log_a, y):
        fraction = float(cosmology.matter_fraction(FLAT, np.exp(log_a)))
        drag, pull = 2 - 1.5 * fraction, 1.5 * fraction
        return [y[1], pull * y[0] - drag * y[1], y[3], pull * (y[2] - y[0] ** 2) - drag * y[3]]

    first, a = 1e-4, np.array([0.1, 0.5, 1.0])
    start = [first, first, -3 / 7 * first**2, -6 / 7 * first**2]
    found = solve_ivp(rhs, (np.log(first), 0), start, "DOP853", np.log(a), rtol=1e-12, atol=1e-18).y
    today = found[0, -1]
    np.testing.assert_allclose(cosmology.growth(FLAT, a), found[0] / today, rtol=2e-10)
    np.testing.assert_allclose(cosmology.growth_rate(FLAT, a), found[1] / found[0], rtol=2e-10)
    np.testing.assert_allclose(cosmology.second_growth(FLAT, a), found[2] / today**2, rtol=2e-4)
    np.testing.assert_allclose(cosmology.second_growth_rate(FLAT, a), found[3] / found[2], rtol=3e-4)
    assert matter == 0.3175


def test_linear_power_has_its_sigma8_and_slope(x64):
    k = np.geomspace(1e-4, 50, 20_001)
    power = np.asarray(cosmology.linear_power(FLAT, k))
    x = 8 * k
    ball = np.where(x > 1e-2, 3 * (np.sin(x) - x * np.cos(x)) / np.maximum(x, 1e-2) ** 3, 1)
    assert np.sqrt(np.trapezoid(power * k**3 * ball**2, np.log(k)) / (2 * np.pi**2)) == pytest.approx(0.834, rel=1e-4)
    assert np.log(power[1] / power[0]) / np.log(k[1] / k[0]) == pytest.approx(FLAT.tilt, abs=0.01)
    assert float(cosmology.linear_power(FLAT, 0.0)) == 0


def test_noise_is_white_hermitian_and_the_same_at_every_resolution():
    """64 meshes' worth of modes: their mean square within six standard errors of 1; real fields lose nothing."""
    key = prng.root_key(3)
    coarse, fine = fields.white_noise(key, 8), fields.white_noise(key, 32)
    kept = np.r_[0:4, -3:0]
    np.testing.assert_array_equal(coarse[np.ix_(kept, kept, range(4))], fine[np.ix_(kept, kept, range(4))])
    field = fourier.backward(fine)
    np.testing.assert_allclose(jnp.fft.rfftn(field), fine, atol=1e-5)
    squares = np.abs(np.asarray(fine)[:, :, 1:16]) ** 2
    assert squares.mean() == pytest.approx(1, abs=6 / np.sqrt(squares.size))
    assert not np.array_equal(fields.white_noise(prng.root_key(4), 8), coarse)


def test_a_gaussian_field_has_the_spectrum_it_was_given():
    """A flat spectrum, shell by shell: chi-squared of as many modes as there are, at six standard errors."""
    noise = fields.white_noise(prng.root_key(5), 32)
    delta = fields.density(noise, jnp.full(noise.shape, 7.0), BOX)
    edges = spectra.shells(32)[:-1]
    found = spectra.power(delta, edges, BOX)
    independent = np.asarray(found.modes) / 2
    assert (np.abs(found.power / 7 - 1) < 6 / np.sqrt(independent)).all()
    number = np.fft.fftfreq(32, 1 / 32)
    length = np.sqrt(number[:, None, None] ** 2 + number[None, :, None] ** 2 + number[None, None, :] ** 2)
    np.testing.assert_array_equal(found.modes, np.histogram(length, edges)[0])
    mean = np.histogram(length, edges, weights=length)[0] / found.modes * 2 * np.pi / BOX
    np.testing.assert_allclose(found.wave_number, mean, rtol=1e-5)


def test_clouds_conserve_mass_and_reading_is_adjoint_to_painting(x64):
    rng = np.random.default_rng(0)
    at, weights, field = rng.uniform(-9, 20, (3, 500)), rng.uniform(size=500), rng.standard_normal((1, 8, 8, 8))
    painted = painting.paint(jnp.asarray(at), 8, jnp.asarray(weights))
    assert float(painted.sum()) == pytest.approx(weights.sum(), rel=1e-13)
    read = painting.read(jnp.asarray(field), jnp.asarray(at))
    assert float((read[0] * weights).sum()) == pytest.approx(float((painted * field[0]).sum()), rel=1e-11)
    np.testing.assert_allclose(painting.paint(jnp.asarray(at + 8), 8, jnp.asarray(weights)), painted, atol=1e-12)
    whole = painting.paint(jnp.array([[2.0], [7.0], [0.0]]), 8)
    assert float(whole[2, 7, 0]) == 1
    halves = painting.paint(jnp.array([[7.5], [0.0], [0.0]]), 8)
    assert float(halves[7, 0, 0]) == float(halves[0, 0, 0]) == 0.5


def test_the_window_is_that_of_clouds(x64):
    """The mean over where a particle lies within its cell of its painted mode, with its phase taken off."""
    shift = (np.arange(64) + 0.5) / 64
    at = np.stack([shift, np.zeros(64), np.zeros(64)])
    modes = jax.vmap(lambda x: jnp.fft.rfftn(painting.paint(x[:, None], 8)))(jnp.asarray(at.T))
    phase = np.exp(2j * np.pi * 3 * shift / 8)
    assert np.mean(np.asarray(modes)[:, 3, 0, 0] * phase).real == pytest.approx(
        float(painting.window(8, jnp.float64)[3, 0, 0]), rel=1e-3
    )


def plane_wave(mesh, amplitude):
    """Modes of delta = amplitude cos(2 pi x / box), and where its sine is, on the lattice."""
    x = np.arange(mesh) * BOX / mesh
    delta = np.broadcast_to(amplitude * np.cos(2 * np.pi * x / BOX)[:, None, None], (mesh,) * 3)
    return jnp.fft.rfftn(jnp.asarray(delta)), -amplitude * BOX / (2 * np.pi) * np.sin(2 * np.pi * x / BOX)


def test_zeldovich_of_a_plane_wave_is_exact(x64):
    delta, expected = plane_wave(8, 0.3)
    for order in (1, 2):
        found, momentum = lagrangian.particles(FLAT, delta, BOX, 0.5, order=order)
        a, grown = jnp.asarray(0.5), float(cosmology.growth(FLAT, 0.5))
        np.testing.assert_allclose(found[0, :, 2, 5], grown * expected, atol=1e-12)
        np.testing.assert_allclose(found[1:], 0, atol=1e-12)
        speed = grown * cosmology.growth_rate(FLAT, a) * a**2 * cosmology.expansion(FLAT, a)
        np.testing.assert_allclose(momentum[0, :, 0, 0], speed * expected, atol=1e-12)


def test_second_order_of_crossed_waves(x64):
    """phi = cos x + cos y: psi_2 is the gradient of the solution for phi_xx phi_yy = cos x cos y, -cos x cos y / 2."""
    x = 2 * np.pi * np.arange(8) / 8
    delta = -(np.cos(x)[:, None, None] + np.cos(x)[None, :, None]) * np.ones((1, 1, 8))
    found = lagrangian.second_order(jnp.fft.rfftn(jnp.asarray(delta)), 2 * np.pi)
    expected = np.sin(x)[:, None] * np.cos(x)[None, :] / 2
    np.testing.assert_allclose(found[0, :, :, 3], expected, atol=1e-12)
    np.testing.assert_allclose(found[1, :, :, 3], expected.T, atol=1e-12)
    np.testing.assert_allclose(found[2], 0, atol=1e-12)


def simulate(steps, factors="fastpm", sigma8=0.834, particles=16, mesh=16):
    """A function of the key, compiled."""
    problem = particle_mesh.Problem(cosmology.Cosmology(sigma8=sigma8), jnp.float32(BOX))
    params = particle_mesh.Params(
        particle_mesh.schedule(0.1, 1, steps), num_steps=steps, particles=particles, mesh=mesh, factors=factors
    )
    return jax.jit(lambda key: particle_mesh.run(problem, params, key))


def spectrum(displacement):
    problem = particle_mesh.Problem(FLAT, jnp.float32(BOX))
    at = particle_mesh.positions(problem, displacement, 32)
    return np.asarray(spectra.power(spectra.contrast(painting.paint(at, 32)), (0.5, 2.5, 4.5, 6.5), BOX).power)


@pytest.fixture(scope="module")
def runs():
    """Displacements of one seed by steps, with the factors of Zel'dovich, and with standard ones."""
    key = prng.root_key(1)
    found = {("fastpm", steps): simulate(steps)(key) for steps in (4, 8, 16, 32)}
    return found | {("standard", steps): simulate(steps, "standard")(key) for steps in (4, 8, 16, 32)}


@pytest.mark.parametrize("factors", ["fastpm", "standard"])
def test_more_steps_converge_and_both_factors_to_the_same(runs, factors):
    """Distance to 32 fastpm steps in rms displacement: it falls at every doubling; the two kinds meet."""
    last = runs["fastpm", 32].displacement
    off = [float(jnp.sqrt(jnp.mean((runs[factors, s].displacement - last) ** 2))) for s in (4, 8, 16)]
    assert off[0] > 1.5 * off[1] > 2.25 * off[2]
    apart = float(jnp.sqrt(jnp.mean((runs["standard", 32].displacement - last) ** 2)))
    assert apart < off[1]
    power = spectrum(last)
    assert np.abs(spectrum(runs[factors, 16].displacement) / power - 1).max() < 0.05


def test_momentum_is_conserved_and_moves_are_told(runs):
    for result in runs.values():
        assert float(result.trace.net_momentum.max()) < 1e-5
        assert int(result.status) == 0
    moves = [float(runs["fastpm", steps].trace.largest_move.max()) for steps in (8, 16, 32)]
    assert moves[0] > 1.7 * moves[1] > 2.9 * moves[2]


def test_small_amplitudes_grow_linearly():
    """sigma8 = 1e-3: longest waves after four steps against the linear spectrum, mode by mode. Clouds in cells, painted
    and read, weaken the forces on these waves by 2.5 to 7.5 % on a mesh of 16 and by a quarter of that on 32; standard
    factors are further off in four steps.
    """
    problem = particle_mesh.Problem(cosmology.Cosmology(sigma8=1e-3), jnp.float32(BOX))
    key = prng.root_key(2)

    def error(factors, size):
        expected = lagrangian.first_order(particle_mesh.linear_modes(problem, key, size), problem.box)
        found = simulate(4, factors, 1e-3, size, size)(key).displacement
        modes, truth = (jnp.fft.rfftn(x, axes=fourier.AXES)[:, :2, :2, :2].reshape(-1) for x in (found, expected))
        return float(jnp.linalg.norm(modes - truth) / jnp.linalg.norm(truth))

    coarse, fine = error("fastpm", 16), error("fastpm", 32)
    assert coarse < 0.06
    assert fine < 0.5 * coarse
    assert error("standard", 32) > 3 * fine


def test_a_seed_is_a_universe_and_a_shift_of_it_shifts_everything():
    """The force of displacements moved along the lattice is the moved force; periodic images change nothing."""
    problem = particle_mesh.Problem(FLAT, jnp.float32(BOX))
    params = particle_mesh.Params(particle_mesh.schedule(0.1, 1, 2), particles=8, mesh=16)
    key = prng.root_key(7)
    start = jax.jit(lambda k: particle_mesh.init(problem, params, k))
    state, again = start(key), start(key)
    jax.tree.map(np.testing.assert_array_equal, state, again)
    pull = jax.jit(lambda x: particle_mesh.force(problem, params, x))
    scale = float(jnp.abs(state.force).max())
    for axis in (1, 2, 3):
        moved = pull(jnp.roll(state.displacement, 3, axis))
        np.testing.assert_allclose(moved, jnp.roll(state.force, 3, axis), atol=2e-5 * scale)
    np.testing.assert_allclose(pull(state.displacement + BOX), state.force, atol=1e-3 * scale)


def test_thinning_keeps_what_it_says_and_alike_for_alike():
    """4,096 coins: means within six standard errors; a denser place keeps more of a step and less beyond a peak."""
    chance = jnp.full((16, 16, 16), 0.3)
    kept = tracers.thinned(prng.root_key(0), chance)
    assert float(kept.mean()) == pytest.approx(0.3, abs=6 * np.sqrt(0.21 / 4096))
    more = tracers.thinned(prng.root_key(0), chance + 0.1)
    assert bool((more >= kept).all())
    density = jnp.array([0.1, 5.0, 50.0])
    step, peak = (tracers.probability(tracers.Occupation(shape=s, most=0.8), density) for s in ("step", "peak"))
    assert float(step[1]) == pytest.approx(0.4)
    assert float(step[0]) < 0.01 < 0.79 < float(step[2])
    assert float(peak[1]) == pytest.approx(0.8)
    assert float(peak[2]) < float(peak[1])
    lattice = painting.lattice(8, 8)
    np.testing.assert_allclose(tracers.density_at(lattice, 8), 1)
    assert float(spectra.shot_noise(jnp.ones(50), 10.0)) == pytest.approx(20)


PARAMS = particle_mesh.example(prng.root_key(0))[1]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: cosmology.Cosmology(omega_m=1.5), r"Cosmology.omega_m must lie in \[0, 1\], got 1.5"),
        (lambda: cosmology.Cosmology(omega_b=0.5), r"Cosmology.omega_b must lie in \[0, 0.3175\], got 0.5"),
        (lambda: fields.white_noise(prng.root_key(0), 7), r"mesh must be even and lie in \[2, 1024\], got 7"),
        (lambda: particle_mesh.Problem(FLAT, -1.0), r"Problem.box must be positive and finite, got -1.0"),
        (lambda: dataclasses.replace(PARAMS, mesh=9), r"Params.mesh must be even and >= 2, got 9"),
        (lambda: dataclasses.replace(PARAMS, order=3), r"Params.order must be one of 1, 2, got 3"),
        (lambda: dataclasses.replace(PARAMS, factors="slow"), r"Params.factors must be one of 'fastpm', 'standard'"),
        (
            lambda: dataclasses.replace(PARAMS, scale_factors=np.array([0.5, 0.2])),
            r"Params.scale_factors must hold at least two and increase within \(0, 1\], got \[0.5, 0.2\]",
        ),
        (lambda: particle_mesh.init(*particle_mesh.example(None)), r"key must be given"),
        (lambda: particle_mesh.schedule(0.0, 1, 4), r"first must be positive"),
        (lambda: spectra.shells(8, most=9.0), r"most must lie in \[1.5, 4.0\], got 9.0"),
        (lambda: tracers.Occupation(most=1.5), r"Occupation.most must lie in \[0, 1\], got 1.5"),
        (lambda: tracers.Occupation(shape="halo"), r"Occupation.shape must be one of 'step', 'peak', got 'halo'"),
        (lambda: lagrangian.particles(FLAT, jnp.zeros((8, 8, 5)), BOX, 1.0, order=3), r"order must be 1 or 2, got 3"),
    ],
)
def test_bad_input_is_told_in_one_line(call, message):
    with pytest.raises(ValueError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_too_many_steps_are_refused():
    problem, params = particle_mesh.example(None)
    state = jax.eval_shape(particle_mesh.init, problem, params, prng.root_key(0))
    late = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), state)._replace(step=jnp.int32(4))
    with pytest.raises(ValueError, match=r"Params.num_steps must be <= 2 \(6 scale factors after the first, 4 used\)"):
        particle_mesh.run(problem, params, state=late)
