"""Whether variance reduction pays: calls of the fast extragradient over those of Algorithm 2, by n and L / L_F.

Unconstrained bilinear problems with singular values i^-a, a such that L / L_F is what is asked for, from a start at
distance 1; both run until the residual |F(u)| is `config.problem.accuracy` L_F. A case is a pair (n, L / L_F), a
replicate a seed of the draws; a step of the run is a budget, `epochs/feg` and `epochs/alg2` are what was spent when it
ended, and `status` says whether the accuracy was reached. Worst cases predict FEG's calls over those of Algorithm 2 to
be sqrt(n) / 3.125 / (L / L_F) (`research.halpern.recommend`).
Source: `cai:24`, `lee:21`; the comparison is our own.
"""

from experiments.lib import app


def cases(setting) -> list[tuple[int, float]]:
    """Pairs (n, L / L_F) with L <= sqrt(n) L_F."""
    return [(n, ratio) for n in setting.sizes for ratio in setting.ratios if ratio**2 <= n]


def exponent(n: int, ratio: float) -> float:
    """a >= 0 with sum_i i^(-2a) = ratio^2, by bisection."""
    import numpy as np

    low, high, i = 0.0, 20.0, np.arange(1.0, n + 1)
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if np.sum(i ** (-2 * middle)) > ratio**2 else (low, middle)
    return low


def program(config, mesh):
    import jax
    import jax.numpy as jnp

    from experiments.halpern import contest
    from experiments.lib.program import number
    from research.core import prng
    from research.halpern import quadratics
    from research.halpern.inclusions import Problem

    setting, dtype = config.problem, number(config)

    def instance(key, n, ratio):
        key = prng.stream(key, f"{n}-{ratio:g}")
        inclusion = quadratics.bilinear(key, jnp.arange(1, n + 1, dtype=dtype) ** -exponent(n, ratio))
        start = jax.random.normal(prng.stream(key, "start"), (2, n), dtype)
        problem = Problem(inclusion, tuple(start / jnp.linalg.norm(start)))
        tolerance = setting.accuracy * inclusion.lipschitz_full
        return {"problem": problem, "tolerance": tolerance, "epochs": jnp.asarray(setting.epochs, dtype)}

    def groups(key):
        return tuple(
            contest.stacked([instance(key, *case) for case in cases(setting) if case[0] == n]) for n in setting.sizes
        )

    rules = {
        "feg": lambda case: contest.enter("feg", case["problem"], tolerance=case["tolerance"]),
        "alg2": lambda case: contest.enter(
            "alg2", case["problem"], residual="natural", tolerance=case["tolerance"],
            resolvent_step=config.algo.kappa * case["problem"].inclusion.num_components**0.5
            / case["problem"].inclusion.lipschitz,
        ),
    }  # fmt: skip
    labels = tuple(f"{n}, {ratio:g}" for n, ratio in cases(setting))
    data = lambda: (prng.root_key(config.seed),)  # noqa: E731  An argument: a constant would be folded.
    return contest.program(
        config, mesh, groups=groups, rules=rules, cases=labels, data=data, data_shape=jax.eval_shape(data)
    )


def main(config, run, mesh):
    from experiments.halpern import panels_break_even
    from experiments.lib import driver

    driver.drive(program(config, mesh), config, run)
    run.look(panels_break_even.quick_look)


if __name__ == "__main__":
    app.run(main, default_config="configs/halpern/break_even.py")
