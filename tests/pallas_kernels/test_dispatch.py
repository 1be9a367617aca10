"""Which implementation is traced when none is named."""

import threading

import jax
import jax.numpy as jnp
import pytest

from pallas_kernels import _dispatch
from pallas_kernels._dispatch import Candidate, forced

X = jnp.zeros(3)
CANDIDATES = {
    "fast": Candidate({"default": lambda x: x + 1}),
    "xla": Candidate({"default": lambda x: x + 2}),
    "picky": Candidate({"default": lambda x: x}, unsupported=lambda x: "N=3 is odd"),
}


def operation(x, impl=None):
    return _dispatch.choose("operation", impl, CANDIDATES, x)(x)


@jax.jit
def inner(x):
    return operation(x)


@pytest.mark.parametrize("function", [operation, inner, jax.jit(lambda x: inner(x))], ids=["eager", "jit", "nested"])
def test_forcing_reaches_what_was_traced_before_and_ends(function):
    assert function(X)[0] == 1
    with forced("xla"):
        assert function(X)[0] == 2
        with forced(None):
            assert function(X)[0] == 1
    assert function(X)[0] == 1


def test_a_named_implementation_stays():
    with forced("xla"):
        assert operation(X, impl="fast")[0] == 1


def test_forcing_never_falls_back():
    with forced("picky"), pytest.raises(NotImplementedError, match=r"operation\[picky\]: N=3 is odd"):
        operation(X)
    with forced("reference"), pytest.raises(ValueError, match="impl must be None or one of fast, picky, xla"):
        operation(X)
    assert operation(X)[0] == 1


def test_another_thread_is_not_forced():
    found = []
    with forced("xla"):
        other = threading.Thread(target=lambda: found.append(float(inner(X)[0])))
        other.start()
        other.join()
    assert found == [1]
