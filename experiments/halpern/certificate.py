"""How large a step Algorithm 1 may take: by its certificate, and before it diverges.

Least squares with rows s_j eps_j, s_j = 1 / j, eps = +-1, ten columns; `config.problem.sizes` rows, batches that are
multiples of sqrt(n), steps of `config.problem.scaled_steps` / L. A case is a size and a step, a curve a batch; a
replicate is a seed of the draws; metrics are those of `experiments.halpern.contest` after `config.problem.epochs`.
Results: `margin [size, batch, step]` of the certificate; `first [size]`, the residual at the start; `sizes [N]` and
`limit [N]`, the largest certified eta L by n; `search [n, 6]`, the best schedule that a search found for n
(`experiments.halpern.schedule_search`): n, decay, floor times sqrt(n), batch over sqrt(n), eta L, and the share of the
published schedule's calls that it needs.
Source: `cai:24` for the method and its schedule; the certificate is our own.
"""

from experiments.lib import app

#: Sizes at which the largest certified step is listed.
LISTED = (4, 10, 25, 50, 100, 200, 400, 1000, 3000, 10_000, 100_000)


def batch(n: int, share: float) -> int:
    """Draws: a multiple of sqrt(n), rounded up."""
    import math

    return max(1, math.ceil(round(share * n**0.5, 9)))


def program(config, mesh):
    import jax
    import jax.numpy as jnp

    from experiments.halpern import contest
    from experiments.lib.program import number
    from research.core import prng
    from research.halpern import finite_sums
    from research.halpern.inclusions import Problem

    setting, dtype = config.problem, number(config)

    def instance(key, n):
        key = prng.stream(key, f"rows-{n}")
        signs = jax.random.rademacher(key, (n, setting.columns), dtype)
        features = signs / jnp.arange(1, setting.columns + 1, dtype=dtype)[None]
        noise = 0.3 * jax.random.normal(prng.stream(key, "noise"), (n,), dtype)
        inclusion = finite_sums.least_squares(features, features.sum(axis=1) + noise, law="uniform")
        return Problem(inclusion, jnp.zeros(setting.columns, dtype))

    def groups(key):
        budget = jnp.asarray(setting.epochs, dtype)
        return tuple(
            contest.stacked([{"problem": problem, "scaled": step, "epochs": budget} for step in setting.scaled_steps])
            for problem in (instance(key, n) for n in setting.sizes)
        )

    def rule(share):
        def enter(case):
            inclusion = case["problem"].inclusion
            return contest.enter(
                "page", case["problem"], step_size=case["scaled"].astype(dtype) / inclusion.lipschitz, unsafe=True,
                batch=batch(inclusion.num_components, share), stride=config.run.stride,
            )  # fmt: skip

        return enter

    cases = tuple(f"{n}, {step:g}" for n in setting.sizes for step in setting.scaled_steps)
    data = lambda: (prng.root_key(config.seed),)  # noqa: E731  An argument: a constant would be folded, row by row.
    return contest.program(
        config,
        mesh,
        data=data,
        data_shape=jax.eval_shape(data),
        groups=groups,
        rules={f"batch_{share:g}": rule(share) for share in setting.batches},
        cases=cases,
    )


def main(config, run, mesh):
    from experiments.halpern import panels_certificate
    from experiments.lib import driver

    groups, _ = driver.drive(program(config, mesh), config, run)
    if not run.results:
        run.results(**certificates(config), first=[start(cases["problem"]) for cases in groups])
    run.look(panels_certificate.quick_look)


def start(problem):
    """The residual at the start of one size."""
    import jax
    import numpy as np

    one = jax.tree.map(lambda leaf: leaf[0], problem)
    return np.linalg.norm(one.inclusion.full(one.start))


def certificates(config):
    """Closed forms and the search, on the host."""
    import numpy as np

    from experiments.halpern import schedule_search
    from research.halpern import schedules

    setting = config.problem
    margin = [
        [
            [schedules.page_margin(n, batch(n, share), step) for step in setting.scaled_steps]
            for share in setting.batches
        ]
        for n in setting.sizes
    ]
    limit = [schedules.certified_limit(n, schedules.batch_size(n)) for n in LISTED]
    found = [schedule_search.search(n, config.algo.candidates, config.seed) for n in config.algo.searched]
    return {"margin": margin, "sizes": np.asarray(LISTED), "limit": np.asarray(limit), "search": found}


if __name__ == "__main__":
    app.run(main, default_config="configs/halpern/certificate.py")
