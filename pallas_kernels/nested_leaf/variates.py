"""Random numbers of a child: a function of its parent's key and its own number, whatever the order of work.

Child c of a node with key K has the words of Threefry-2x32 under K at (c, tag), (c, tag + 1), ..., two at a time. A
word w gives the uniform (floor(w / 512) + 1/2) 2^-23 in the open unit interval, exactly, and the normal of that
quantile. Source: `salmon:11` for the generator.
"""

import jax.numpy as jnp

from pallas_kernels import _threefry

__all__ = ["LAWS", "normal", "uniform", "variates"]

#: Coefficients of sqrt(2) erfinv(x) / x by falling powers of sqrt(w + 3) - 3.005, w = -log(1 - x^2), up to w = 15.25,
#: which is all that 23 bits can give: relative error 2.4e-7, 5e-7 with roundings, so that a normal is off by 1.5e-6 at
#: most. One polynomial for centre and tail: the usual pair chooses between two coefficients nine times.
_SHIFT, _CENTRE = 3.0, 3.005
_COEFFICIENTS = (
    -3.71989e-4, 2.98943587e-5, 2.83095326e-3, -1.7375545e-3, -8.35721343e-3, 1.2623631e-2, 4.06798015e-3,
    -3.4637475e-2, 5.47056588e-2, -3.34440443e-2, -5.64473377e-2, 1.6941893, 3.24196482,
)  # fmt: skip


def variates(key, child, kinds, tag):
    """One array for each of `kinds`, words of `LAWS`, in the shape of `child`.

    Args:
      key: pair of uint32 arrays of that shape.
      child: uint32.
      tag: second word of the first counter.
    """
    words = []
    for block in range(-(-len(kinds) // 2)):
        words += _threefry.threefry_2x32(key, (child, jnp.full_like(child, tag + block)))
    return tuple(LAWS[kind](word) for kind, word in zip(kinds, words, strict=False))


def uniform(word):
    """float32 in (0, 1), never 0 or 1."""
    return ((word >> jnp.uint32(8)) | jnp.uint32(1)).astype(jnp.int32).astype(jnp.float32) * 2.0**-24


def normal(word):
    """float32 standard normal, between -5.2947 and 5.2947."""
    x = _symmetric(word)
    # Both factors are exact: the square of x would lose the digits that count in the tail.
    y = jnp.sqrt(_SHIFT - jnp.log((1 - x) * (1 + x))) - _CENTRE
    value = jnp.full_like(x, _COEFFICIENTS[0])
    for coefficient in _COEFFICIENTS[1:]:
        value = value * y + coefficient
    return value * x


def _symmetric(word):
    """2 u - 1 for the uniform u of a word: an odd number of 24 bits times 2^-23, exactly.

    By way of int32, since chips convert no unsigned number; the half is in the integer, since a compiler may join two
    additions of constants to a float and round them away.
    """
    odd = ((word >> jnp.uint32(8)) | jnp.uint32(1)).astype(jnp.int32)
    return (odd - (1 << 23)).astype(jnp.float32) * 2.0**-23


#: Laws of a variate.
LAWS = {"normal": normal, "uniform": uniform}
