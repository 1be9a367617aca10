"""The kinds of pooling whose value is a function of statistics that can be joined, and their gradients.

An element is lifted to a statistic; statistics of parts of a window are joined to that of the window, in any order, so
that rows can be joined before columns; the window's value is a function of its statistic. Going back, a window is
pulled to a tuple that is joined over the windows of an element, and the element's slope is a function of that and of
the element. Everything is elementwise over arrays of one shape, on whole arrays as on a chip's registers. A part of a
statistic that is the same for every element (`implicit` is its index) is None in a lifted one.

Three families. `Linear`: sums. `Extreme`: the largest element, where it is, and maybe a sum; which element a window's
maximum was decides its slope, so that windows are not joined on the way back but looked at one by one. `Exponential`:
sums of exp(u) t in two parts, the largest u and sums of exp(u - top) t, so that no exponential is above 1; on the way
back a window's weight 1 / S is in the same two parts, and exp(u - top) is below 1 again, since an element's u is at
most the top of any window that it lies in.

`theta` is the parameter, one number for each channel: p, tau, beta or the share of the maximum.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

__all__ = ["FLOOR", "KINDS", "PARAMETRIC", "SPAN", "TIES", "Calm", "Exponential", "Inverse", "rule", "span"]

KINDS = ("sum", "avg", "max", "min", "lp", "power", "lme", "lse", "soft", "mixed")
#: Kinds that have a parameter.
PARAMETRIC = ("lp", "power", "lme", "lse", "soft", "mixed")
TIES = ("first", "all", "split")
#: Least element of a power mean; smaller ones count as this, and have no slope.
FLOOR = 1e-6

#: Exponents of one reference: exp(-SPAN), times any number of a window's, is far from the smallest float32.
SPAN = 70.0

_NOTHING = -1e30  # an exponent of what is not there
_TINY = 1e-37  # least modulus of an element of `lp` that is not zero


class Inverse(NamedTuple):
    """One over the number of elements, where that is at hand and a division would cost more."""

    inverse: jax.Array


@functools.cache
def rule(kind, ties="first", straight=False, learned=False):
    """The rule of a kind.

    Args:
      kind: of `KINDS`.
      ties: of `TIES`, for "max", "min" and "mixed": who has the slope of a maximum that several elements attain.
      straight: for "soft": slopes with the weights held constant.
      learned: whether `pulled` is to find the derivative in `theta` as well; the statistic has one number more.
    """
    if kind in ("sum", "avg"):
        return Linear(kind)
    if kind in ("max", "min", "mixed"):
        return Extreme(kind, ties)
    return Exponential(kind, straight, learned)


class Linear:
    """Sums and means."""

    joins_back = True
    looks_back = False
    implicit = None

    def __init__(self, kind):
        self.counts = kind == "avg"  # whether the number of elements matters
        self.neutral = self.neutral_pulled = (0.0,)

    def lift(self, x, theta):
        del theta
        return (x,)

    def join(self, parts, places):
        del places
        return tuple(map(_total, zip(*parts, strict=True)))

    join_pulled = join

    def finish(self, statistic, count, theta):
        del theta
        return _over(statistic[0], count) if self.counts else statistic[0]

    def pulled(self, statistic, count, cotangent, theta):
        del statistic, theta
        return (_over(cotangent, count) if self.counts else cotangent,), None

    def slope(self, x, pulled, theta):
        del x, theta
        return pulled[0]


class Extreme:
    """Largest, smallest, and a mixture of largest and mean.

    Statistics: the extreme; with ties "first" its place in the window, counted along rows; with "split" how many
    elements attain it; for a mixture the sum.
    """

    joins_back = False
    looks_back = True

    def __init__(self, kind, ties):
        self.kind, self.ties = kind, ties
        self.counts = self.mixed = kind == "mixed"
        self.implicit = None if ties == "all" else 1
        second = {"first": (0.0,), "split": (0.0,), "all": ()}[ties]
        self.neutral = (-jnp.inf, *second, *((0.0,) if self.mixed else ()))
        self.neutral_pulled = (-1.0 if ties == "first" else 0.0, 0.0, *((0.0,) if self.mixed else ()))

    def lift(self, x, theta):
        del theta
        second = () if self.ties == "all" else (None,)
        return (-x if self.kind == "min" else x, *second, *((x,) if self.mixed else ()))

    def join(self, parts, places):
        tops = [part[0] for part in parts]
        top = functools.reduce(jnp.maximum, tops)
        found = [top]
        if self.ties == "first":
            best, place = tops[0], _place(parts[0][1], places[0], top)
            for part, offset in zip(parts[1:], places[1:], strict=True):
                later = part[0] > best
                place = jnp.where(later, _place(part[1], offset, top), place)
                best = jnp.maximum(best, part[0])
            found.append(place)
        if self.ties == "split":
            found.append(_total(jnp.where(p[0] == top, 1.0 if p[1] is None else p[1], 0.0) for p in parts))
        if self.mixed:
            found.append(_total(part[-1] for part in parts))
        return tuple(found)

    def finish(self, statistic, count, theta):
        if self.mixed:
            return theta * statistic[0] + (1 - theta) * _over(statistic[-1], count)
        return -statistic[0] if self.kind == "min" else statistic[0]

    def pulled(self, statistic, count, cotangent, theta):
        key = statistic[1] if self.ties == "first" else statistic[0]
        of_top = theta * cotangent if self.mixed else cotangent
        if self.ties == "split":
            of_top = of_top / statistic[1]
        if not self.mixed:
            return (key, of_top), None
        mean = _over(statistic[-1], count)
        return (key, of_top, _over((1 - theta) * cotangent, count)), cotangent * (statistic[0] - mean)

    def slope_in(self, x, pulled, place):
        """Of the element at a place of one window."""
        lifted = -x if self.kind == "min" else x
        has = pulled[0] == (float(place) if self.ties == "first" else lifted)
        slope = jnp.where(has, pulled[1], 0.0)
        return slope + pulled[2] if self.mixed else slope


class Exponential:
    """SoftPool, log-sum-exp and log-mean-exp, and, with u = p log x, power means and norms.

    Statistics: top, the sum of weights w = exp(u - top), and sums of w x, w x^2 or w log x where they are needed.
    """

    joins_back = True
    looks_back = True
    implicit = 1

    def __init__(self, kind, straight, learned):
        self.kind, self.straight, self.learned = kind, straight, learned
        self.soft, self.logarithmic = kind == "soft", kind in ("power", "lp")
        self.counts = kind in ("power", "lme")
        self.neutral = (_NOTHING, *(0.0,) * (1 + self.soft + learned))
        self.neutral_pulled = (_NOTHING, *(0.0,) * (1 + (self.soft and not straight)))

    def lift(self, x, theta):
        more = ()
        if self.soft:
            u, more = theta * x, (x, x * x) if self.learned else (x,)
        elif self.logarithmic:
            log = self._log(x)
            u, more = theta * log, (log,) if self.learned else ()
        else:
            u, more = x / theta, (x,) if self.learned else ()
        return (u, None, *more)

    def _log(self, x):
        return jnp.log(jnp.maximum(x, FLOOR) if self.kind == "power" else jnp.maximum(jnp.abs(x), _TINY))

    def join(self, parts, places):
        del places
        if len(parts) == 1 and all(value is not None for value in parts[0]):
            return parts[0]
        top = functools.reduce(jnp.maximum, (part[0] for part in parts))
        scales = [jnp.exp(part[0] - top) for part in parts]
        sums = zip(*(part[1:] for part in parts), strict=True)
        weighted = (
            _total(scale if value is None else value * scale for value, scale in zip(values, scales, strict=True))
            for values in sums
        )
        return (top, *weighted)

    def join_pulled(self, parts, places):
        return self.join(parts, places)

    def finish(self, statistic, count, theta):
        top, weights, *more = statistic
        if self.soft:
            return more[0] / weights
        log = top + jnp.log(_over(weights, count) if self.counts else weights)
        if not self.logarithmic:
            return theta * log
        value = jnp.exp(log / theta)
        return value if self.kind == "power" else jnp.where(top > theta * jnp.log(_TINY), value, 0.0)

    def pulled(self, statistic, count, cotangent, theta):
        top, weights, *more = statistic
        value = self.finish(statistic, count, theta)
        each = cotangent / weights
        if self.soft:
            of_theta = each * more[1] - cotangent * value * value if self.learned else None
            return (-top, each) if self.straight else (-top, each, each * value * theta), of_theta
        of_theta = None
        if self.logarithmic:
            if self.learned:
                log = (top + jnp.log(_over(weights, count) if self.counts else weights)) / theta
                of_theta = value / theta * (each * more[0] - cotangent * log)
            each = each * value
        elif self.learned:
            of_theta = (cotangent * value - each * more[0]) / theta
        return (-top, each), of_theta

    def slope(self, x, pulled, theta):
        top, each, *rest = pulled
        if self.soft:
            weight = jnp.exp(theta * x + top)
            return weight * each if self.straight else weight * ((1 + theta * x) * each - rest[0])
        if not self.logarithmic:
            return jnp.exp(x / theta + top) * each
        log = self._log(x)
        slope = jnp.exp((theta - 1) * log + top) * each
        if self.kind == "power":
            return jnp.where(x > FLOOR, slope, 0.0)
        return jnp.where(x > _TINY, slope, jnp.where(x < -_TINY, -slope, 0.0))


class Calm:
    """An exponential rule where all exponents are known to lie within `SPAN` of each other, below `top`.

    With one reference for all, statistics and pulled windows are joined by additions alone.
    """

    joins_back = True
    looks_back = True
    implicit = None

    def __init__(self, law, top):
        self.law, self.top, self.counts = law, top, law.counts
        self.neutral, self.neutral_pulled = law.neutral[1:], law.neutral_pulled[1:]

    def lift(self, x, theta):
        u, _, *more = self.law.lift(x, theta)
        weight = jnp.exp(u - self.top)
        return (weight, *(value * weight for value in more))

    def join(self, parts, places):
        del places
        return tuple(map(_total, zip(*parts, strict=True)))

    join_pulled = join

    def finish(self, statistic, count, theta):
        return self.law.finish((self.top, *statistic), count, theta)

    def pulled(self, statistic, count, cotangent, theta):
        (_, *values), of_theta = self.law.pulled((self.top, *statistic), count, cotangent, theta)
        return tuple(values), of_theta

    def slope(self, x, pulled, theta):
        return self.law.slope(x, (-self.top, *pulled), theta)


def span(law, least, largest, theta):
    """Largest exponent, and how far below it the smallest is, between two elements; of moduli for a norm."""
    ends = law.lift(least, theta)[0], law.lift(largest, theta)[0]
    top = jnp.maximum(*ends)
    return top, top - jnp.minimum(*ends)


def _total(values):
    return functools.reduce(jnp.add, values)


def _over(value, count):
    return value * count.inverse if isinstance(count, Inverse) else value / count


def _place(inner, offset, like):
    return jnp.full_like(like, offset) if inner is None else inner + offset
