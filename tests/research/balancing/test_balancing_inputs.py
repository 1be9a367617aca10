"""Bad input: one line that names the argument, its value and what is allowed."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from research.balancing import (
    alf_lb,
    assignment,
    bounds,
    metrics,
    online,
    oracles,
    population,
    quantile,
    score_models,
    sinkhorn,
)
from research.balancing.bias_update import Rule
from research.balancing.gumbel_router import GumbelRouter
from research.core import prng, validate

SCORES = np.linspace(0, 1, 24, dtype=np.float32).reshape(6, 4)
SPOILT = SCORES.copy()
SPOILT[2, 1] = np.nan
LOAD = np.array([3, 3, 3, 3], np.int32)


def problem(scores=SCORES, top_k=2, valid=None):
    return alf_lb.Problem(jnp.asarray(scores), top_k, valid)


def start(scores=SCORES, top_k=2, valid=None, bias=None):
    return alf_lb.init(problem(scores, top_k, valid), alf_lb.Params(2), bias=bias)


def program(scores=SCORES, top_k=2):
    return oracles.linear_program(scores, top_k)


UNIT = score_models.location_family("normal", np.zeros(4, np.float32))
CASES = {
    "K below 1": (lambda: start(top_k=0), r"top_k must lie in \[1, 4\], got 0\."),
    "K above E": (lambda: start(top_k=5), r"top_k must lie in \[1, 4\], got 5\."),
    "one expert": (lambda: start(SCORES[:, :1], 1), r"number of experts must be >= 2, got 1\."),
    "no tokens": (lambda: start(SCORES[:0]), r"number of tokens must be >= 1, got 0\."),
    "scores of one axis": (lambda: start(SCORES[0]), r"scores must have shape \(any, any\), got \(4,\)\."),
    "integer scores": (lambda: start(np.ones((6, 4), np.int32)), r"scores must be floating-point, got int32\."),
    "NaN scores": (lambda: start(SPOILT), r"scores must be finite, got nan at index \(2, 1\)\."),
    "infinite scores": (lambda: start(np.where(SPOILT == SPOILT, SCORES, -np.inf)), r"scores must be finite, got -inf"),
    "bias shape": (lambda: start(bias=np.zeros(3)), r"bias must have shape \(4\), got \(3,\)\."),
    "NaN bias": (lambda: start(bias=np.full(4, np.nan)), r"bias must be finite, got nan"),
    "bias shape in assign": (
        lambda: assignment.assign(problem(), jnp.zeros(5)),
        r"bias must have shape \(4\), got \(5,\)",
    ),
    "mask length": (lambda: start(valid=np.ones(5, bool)), r"valid must have shape \(6\), got \(5,\)\."),
    "mask type": (lambda: start(valid=np.ones(6)), r"valid must be bool, got float64\."),
    "nothing valid": (lambda: start(valid=np.zeros(6, bool)), r"valid must have at least one valid token, got 0\."),
    "loads that cannot be equal": (
        lambda: assignment.validate(problem(SCORES[:5], 1), exact=True),
        r"scores must have K T divisible by the 4 experts; bound loads by floor and ceiling instead, got K T = 5\.",
    ),
    "rule": (lambda: Rule("adam"), r"Rule\.rule must be one of 'sign', 'prop', .*, got 'adam'\."),
    "schedule": (lambda: Rule("sign", "linear"), r"Rule\.schedule must be one of 'const', .*, got 'linear'\."),
    "negative step": (lambda: Rule(step_size=-1e-3), r"Rule\.step_size must be >= 0, got -0\.001\."),
    "NaN step": (lambda: Rule(step_size=float("nan")), r"Rule\.step_size must be >= 0, got nan\."),
    "infinite step": (lambda: Rule(step_size=float("inf")), r"Rule\.step_size must be finite, got inf\."),
    "offset": (lambda: Rule(offset=-1.0), r"Rule\.offset must be >= 0, got -1\.0\."),
    "horizon": (lambda: Rule(horizon=0.0), r"Rule\.horizon must be positive and finite, got 0\.0\."),
    "final": (lambda: Rule(final=1.5), r"Rule\.final must lie in \[0, 1\], got 1\.5\."),
    "clip": (lambda: Rule(clip=-1.0), r"Rule\.clip must be >= 0, got -1\.0\."),
    "momentum": (lambda: Rule(momentum=1.0), r"Rule\.momentum must lie in \[0, 1\), got 1\.0\."),
    "average": (lambda: Rule(ema_load=-0.1), r"Rule\.ema_load must lie in \[0, 1\), got -0\.1\."),
    "rule of one expert": (lambda: Rule().init(1), r"num_experts must be >= 2, got 1\."),
    "load shape": (lambda: Rule().update(Rule().init(3), LOAD, 2), r"load must have shape \(3\), got \(4,\)\."),
    "steps": (lambda: alf_lb.Params(0), r"Params\.num_steps must be >= 1, got 0\."),
    "damping": (lambda: quantile.Params(4, damping=1.5), r"Params\.damping must lie in \[0, 1\], got 1\.5\."),
    "method": (
        lambda: quantile.Params(4, method="heap"),
        r"Params\.method must be one of 'sort', 'bisect', got 'heap'",
    ),
    "scores of the quantile": (lambda: quantile.init(problem(SPOILT), quantile.Params(4)), r"scores must be finite"),
    "bias of the quantile": (
        lambda: quantile.init(problem(), quantile.Params(4), bias=np.zeros(5)),
        r"bias must have shape \(4\), got \(5,\)\.",
    ),
    "scores of the program": (lambda: program(SPOILT), r"scores must be finite, got nan"),
    "K of the program": (lambda: program(top_k=9), r"top_k must lie in \[1, 4\], got 9\."),
    "tokens of the matching": (
        lambda: oracles.matching(SCORES[:5]),
        r"scores must have T divisible by the 4 experts, got 5\.",
    ),
    "temperature": (lambda: sinkhorn.sinkhorn(problem(), 0.0, 5), r"temperature must be positive and finite, got 0\.0"),
    "devices": (lambda: metrics.device_load(LOAD, 3), r"num_devices must divide the 4 experts, got 3\."),
    "groups": (
        lambda: metrics.max_violation_scopes(np.ones((1, 1, 3, 4), int), 2),
        r"group_size must divide the 3 replicas, got 2\.",
    ),
    "kind": (
        lambda: score_models.Independent(np.zeros(4), np.ones(4), "cauchy"),
        r"Independent\.kind must be one of 'normal', 'uniform', 'logistic', 'gumbel', got 'cauchy'\.",
    ),
    "scale": (
        lambda: score_models.Independent(np.zeros(4), np.zeros(4)),
        r"Independent\.scale must be positive and finite, got 0\.0 at index 0 \(4 such entries\)\.",
    ),
    "groups of tokens": (
        lambda: score_models.Clustered(UNIT, 1.0, size=4).sample(prng.root_key(0), 6),
        r"num_tokens must be a multiple of 4, got 6\.",
    ),
    "K of a population": (lambda: population.objective(UNIT, jnp.zeros(4), 5), r"top_k must lie in \[1, 4\], got 5\."),
    "K of a Gumbel router": (lambda: online.problem_of(GumbelRouter(np.zeros(4)), 2), r"top_k must be 1, got 2\."),
    "a model without densities": (
        lambda: online.problem_of(score_models.Clustered(UNIT, 1.0, size=4)),
        r"model must be Independent or a GumbelRouter, got Clustered\.",
    ),
    "tokens of a step": (lambda: online.Params(4, num_tokens=0), r"Params\.num_tokens must be >= 1, got 0\."),
    "excess": (lambda: online.Params(4, excess="cubic"), r"Params\.excess must be one of 'exact', .*, got 'cubic'\."),
    "no key": (
        lambda: online.init(online.problem_of(GumbelRouter(jnp.zeros(4))), online.Params(4)),
        r"key must be a PRNG key \(tokens are drawn\), got None\.",
    ),
    "travel": (
        lambda: bounds.travel_updates(1.0, 0.1, "cosine"),
        r"schedule must be one of 'const', 'inv', 'inv_sqrt'",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_bad_input_is_named(case):
    call, message = CASES[case]
    with pytest.raises(ValueError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_compiled_code_can_be_asked_to_check():
    run = validate.checked(lambda scores: alf_lb.run(alf_lb.Problem(scores, 2), alf_lb.Params(2)).bias)
    run(jnp.asarray(SCORES))
    with pytest.raises(Exception, match="nan generated by primitive"):
        run(jnp.asarray(SPOILT))


def test_a_replaced_field_is_checked_again():
    with pytest.raises(ValueError, match=r"Params\.num_tokens must be >= 1, got -1\."):
        dataclasses.replace(online.Params(4), num_tokens=-1)
