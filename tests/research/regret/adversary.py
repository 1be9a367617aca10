"""Adversaries for online learners: they see the learner's state and choose each round's data to hurt it most."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


class Carry(NamedTuple):
    state: Any  # the learner's
    regret: jax.Array  # as the adversary accounts for it, from the definition


def greedy(play, account, score, state, shape, proposals):
    """Picks in each round the proposal that is best for the adversary; returns the data, leading axis `num_rounds`.

    Args:
      play: (state, data of one round) -> (state, info), the learner.
      account: (data of one round, info) -> instant regrets of `shape`, computed from the definition.
      score: (state, regret) -> what the adversary maximises, one round ahead; a constant makes it oblivious.
      proposals: pytree of data, leading axes `[num_rounds, num_candidates]`.
    """

    def try_out(carry, data):
        state, info = play(carry.state, data)
        regret = carry.regret + account(data, info)
        return score(state, regret), Carry(state, regret)

    def one_round(carry, candidates):
        scores, carries = jax.vmap(try_out, in_axes=(None, 0))(carry, candidates)
        best = jnp.argmax(scores)
        return jax.tree.map(lambda leaf: leaf[best], (carries, candidates))

    return jax.lax.scan(one_round, Carry(state, jnp.zeros(shape, jnp.float64)), proposals)[1]


def random_priors(rng, num_instances, num_experts):
    """Normalised log-normal weights, with entries down to about 1e-4."""
    weights = np.exp(2.0 * rng.normal(size=(num_instances, num_experts)))
    return weights / weights.sum(axis=1, keepdims=True)
