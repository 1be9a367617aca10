"""Speed of the matching family: LP-OnOpt to a certified gap against other solvers, posted prices against a plain loop.

`dualscan` solves one instance (or a batch of 64) to a gap of 1e-4, which is taken again in float64 and reported; HiGHS
and MPAX (where installed) get the assembled state form of the same instance. A peer that a time limit stopped has the
limit in its row, and no value: it is slower than its row says.
Counted for `dualscan` per (i, t): 16 operations, transcendental ones as one, and 12 bytes in a gradient iteration (the
weights read, the acceptance written and read), three times both in the audit of a round.
Posted prices are those of the first time: rollouts from everybody free and from everybody but one. A node-step is one
node at one time for one rollout from one such set, visited or not. The peer plays the sets one after another, by the
NumPy simulator that `match_scan` is compared with, vectorised over rollouts, with the same uniforms for every set.
The family's other rows are those of its kernels: `--only=match_scan`, `dual_scan`, `subset_dp`.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from experiments.matching import families, peers
from pallas_kernels._bench import Case, Work
from pallas_kernels.match_scan import peers as simulators
from research.core import prng
from research.matching import certificates, mechanism, oracles, rates, relaxation, simulation

__all__ = ["cases", "full_cases"]

#: n, T, instances, seconds that HiGHS may take, and timed calls of other solvers by name (0: left out).
_ONCE, _SOME = dict.fromkeys(peers.HIGHS, 1), dict.fromkeys(peers.HIGHS, 5)
_LP = (
    (20, 50, 1, 60.0, _SOME | {peers.MPAX: 3}), (20, 50, 64, 60.0, _SOME | {peers.MPAX: 3}),
    (50, 200, 1, 60.0, dict.fromkeys(peers.HIGHS, 3)), (100, 500, 1, 60.0, _ONCE),
)  # fmt: skip
_LP_QUICK = ((8, 20, 1, 10.0, _SOME), (8, 20, 16, 10.0, _SOME))
_LP_FULL = ((50, 200, 1, 60.0, _ONCE | {peers.MPAX: 2}), (200, 1000, 1, 300.0, _ONCE))
_FLOPS, _BYTES, _AUDIT = 16, 12, 3
_COMPARED = 8  # instances of a batch that HiGHS solves
#: n, T, rollouts for each price.
_PRICES, _PRICES_QUICK = ((20, 50, 256), (100, 100, 256)), ((6, 12, 32),)


def cases(tables, quick=False):
    """Yields the cases; `tables` is not used, instances are drawn."""
    del tables
    for size in _LP_QUICK if quick else _LP:
        yield _lp_case(*size)
    for size in _PRICES_QUICK if quick else _PRICES:
        yield _price_case(*size)


def full_cases(tables):
    """What other solvers need many minutes for."""
    del tables
    for size in _LP_FULL:
        yield _lp_case(*size)


def _lp_case(n, steps, lanes, limit, calls):
    keys = prng.replicate_keys(prng.stream(prng.root_key(0), "bench"), lanes)
    batch = jax.vmap(lambda key: families.draw(key, (("er", 0.5, n, steps),), jnp.float32))(keys)
    instances = [jax.tree.map(lambda leaf, k=k: leaf[k, 0], batch) for k in range(lanes)]
    if lanes == 1:
        call = functools.partial(relaxation.solve, instances[0], tolerance=1e-4)
    else:
        call = functools.partial(relaxation.solve_batch, jax.tree.map(lambda leaf: leaf[:, 0], batch), tolerance=1e-4)
    sweeps = relaxation.Params().iterations + _AUDIT
    works = {
        "dualscan": Work(
            call, lanes, report=functools.partial(_certified, instances),
            flops=lambda found: float(jnp.max(found.rounds) * sweeps * n * steps * lanes * _FLOPS),
            traffic=lambda found: float(jnp.max(found.rounds) * sweeps * n * steps * lanes * _BYTES),
        )
    }  # fmt: skip
    for name in peers.installed(calls):
        compared = instances[:1] if name == peers.MPAX else instances[:_COMPARED]
        forms = [oracles.state_form(one) for one in compared]
        solvers = [peers.solver(name, form, limit=limit) for form in forms]
        works[name if name == peers.MPAX else f"HiGHS {name}"] = Work(
            functools.partial(_solved, solvers), len(solvers), dtype="float32" if name == peers.MPAX else "float64",
            repeats=calls[name], report=functools.partial(_worth, compared, limit),
        )  # fmt: skip
    note = f"Erdős–Rényi, density 0.5, gap 1e-4; HiGHS stopped after {limit:.0f} s"
    return Case(f"matching lp {n}x{steps}" + (f" batch {lanes}" if lanes > 1 else ""), "instances",
                (lanes, n, steps), works, note)  # fmt: skip


def _solved(solvers):
    return [solve() for solve in solvers]


def _certified(instances, found):
    """The largest gap of the batch in float64, and rounds."""
    x, multipliers = (np.asarray(leaf) for leaf in (found.x, found.multipliers))
    if len(instances) == 1:
        x, multipliers = x[None], multipliers[None]
    gaps = [certificates.certificate(*of).gap for of in zip(instances, x, multipliers, strict=True)]
    return {"gap": max(gaps), "rounds": int(jnp.max(found.rounds))}


def _worth(instances, limit, found):
    """How far the value of the repaired x is from its dual bound, where the peer gave multipliers; or the limit."""
    if any(one is None for one in found):
        return {"stopped": limit}
    worst = 0.0
    for instance, one in zip(instances, found, strict=True):
        x, multipliers = one.x[..., 0], np.maximum(one.multipliers[:, 0], 0)
        if multipliers.any():
            worst = max(worst, certificates.certificate(instance, x, multipliers).gap)
            continue
        feasible = certificates.repair(instance, jnp.asarray(x, instance.weights.dtype))
        worst = max(worst, abs(1 - float(jnp.sum(instance.weights * feasible)) / one.value))
    return {"gap": worst}


def _price_case(n, steps, num_rollouts):
    sale = _sale(n, steps)
    params, key = mechanism.Params(steps, num_rollouts), prng.root_key(0)
    everybody, now = jnp.ones(n, bool), jnp.int32(0)
    post = jax.jit(lambda sale, key: mechanism.posted_prices(sale, params, key, now, everybody))
    later = _later(sale)

    def report(prices):
        return {"mean price": float(np.mean(prices))}

    node_steps = (n + 1) * (steps - 1) * n * num_rollouts
    works = {
        "rollouts": Work(lambda: jax.block_until_ready(post(sale, key)), node_steps, report=report),
        "loop over sets, NumPy": Work(lambda: _prices(_values(later, num_rollouts)), node_steps, report=report),
    }
    note = f"prices of the first time, {num_rollouts} rollouts each"
    return Case(f"matching prices {n}x{steps}", "node-steps", (num_rollouts, n, steps), works, note)


def _sale(n, steps):
    key = prng.stream(prng.root_key(0), "prices")
    instance = jax.tree.map(lambda leaf: leaf[0], families.draw(key, (("er", 0.5, n, steps),), jnp.float32))
    x = relaxation.solve(instance, tolerance=1e-3).x
    return mechanism.Problem(instance.weights, instance.arrivals, rates.proposal_rates(instance, x, rates.EDGE))


def _later(sale):
    """The times after the first, as the NumPy simulator takes them."""
    plan = simulation.prepare(sale.rounding)
    return [np.asarray(leaf[1:, 0]) for leaf in (plan.order, plan.weights, plan.rates, plan.arrivals)]


def _values(later, num_rollouts):
    """`[n + 1, R]`: from everybody free, and from everybody but one."""
    n = later[0].shape[1]
    starts = np.concatenate([np.ones((1, n), bool), ~np.eye(n, dtype=bool)])
    return np.stack([simulators.simulate(*later, num_rollouts, start=start) for start in starts])


def _prices(values):
    return np.maximum(np.mean(values[:1] - values[1:], axis=1), 0)
