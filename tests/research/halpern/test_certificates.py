"""The computed error is never below the true one, nor the computed residual below that of the inclusion."""

import jax
import jax.numpy as jnp
import linear_inclusions
import numpy as np

from research.core import prng
from research.halpern import certificates, games
from research.halpern.subproblem import Subproblem


def test_error_bounds_hold_on_linear_operators(x64):
    """24 operators x 16 candidates, from the resolvent itself to far away from it, x 3 steps of the certificate."""
    problems, _ = linear_inclusions.instances(prng.root_key(0), 24, 6)

    def one(problem, key, step):
        inclusion, u = problem.inclusion, problem.start
        scale = 3 / inclusion.lipschitz_full
        target = inclusion.resolvent(u, scale)
        candidate = target + 10.0 ** jax.random.uniform(key, minval=-9, maxval=2) * jax.random.normal(key, u.shape)
        t = step / (scale * inclusion.lipschitz_full + 1)
        found = certificates.certify(Subproblem(inclusion, u, scale), candidate, t)
        true = jnp.linalg.norm(found.point - target)
        held = certificates.is_accurate(found, 0.1), true <= 0.1 * jnp.linalg.norm(u - target)
        return found.error, true, found.residual, jnp.linalg.norm(inclusion.full(found.point)), *held

    over_steps = jax.vmap(one, in_axes=(None, None, 0))
    over = jax.jit(jax.vmap(jax.vmap(over_steps, in_axes=(None, 0, None)), in_axes=(0, None, None)))
    keys, steps = prng.replicate_keys(prng.root_key(1), 16), jnp.array([1.0, 0.05, 3.0])
    error, true, residual, of_inclusion, said, so = map(np.asarray, over(problems, keys, steps))
    assert np.all(true <= error * (1 + 1e-9) + 1e-14)
    np.testing.assert_allclose(residual, of_inclusion, rtol=1e-6, atol=1e-10)  # without a G it is the residual
    assert np.all(so | ~said)
    assert np.any(said)
    assert np.any(~said)
    # The default step, 1 / (c L_F + 1), is tight within the condition number of the subproblem, here 4, and some.
    assert np.all(error[..., 0] <= 10 * true[..., 0] + 1e-12)


def test_error_bounds_hold_on_simplices(x64):
    """24 games; the resolvent by 600 extragradient steps on its subproblem, which is strongly monotone."""

    def one(matrix, key):
        game = games.matrix_game(matrix)
        u = games.uniform_start(game)
        problem = Subproblem(game, u, 2 / game.lipschitz_full)
        t = 0.5 / problem.lipschitz_full

        def step(v, _):
            half = problem.prox(jax.tree.map(lambda a, b: a - t * b, v, problem.full(v)), t)
            return problem.prox(jax.tree.map(lambda a, b: a - t * b, v, problem.full(half)), t), None

        target = jax.lax.scan(step, u, length=600)[0]
        noise = jax.random.split(key)
        candidate = jax.tree.map(
            lambda leaf, key: leaf + 0.2 * jax.random.normal(key, leaf.shape), target, tuple(noise)
        )
        found = certificates.certify(problem, candidate)
        true = jnp.sqrt(sum(jnp.sum((a - b) ** 2) for a, b in zip(found.point, target, strict=True)))
        return found.error, true, found.residual, games.duality_gap(game, found.point)

    matrices = jax.random.normal(prng.root_key(2), (24, 5, 5))
    error, true, residual, gap = jax.jit(jax.vmap(one))(matrices, prng.replicate_keys(prng.root_key(3), 24))
    assert np.all(true <= error + 1e-12)
    assert np.all(true > 1e-3)  # the candidates are not the resolvents
    # An element of F + G of length r makes the duality gap at most r times the diameter 2 of the pair of simplices.
    assert np.all(gap <= 2 * residual + 1e-12)
