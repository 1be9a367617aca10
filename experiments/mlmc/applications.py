"""Options, decisions, credit and design by READ: estimates beside exact values, what one percent costs, and baselines.

A replicate is an independent run of READ on every case, a step one block of its replicates. Metrics `[R]`:
`mean/<case>` of a block, `deviation/<case>`, its sum of squared deviations from it, `leaves/<case>` that it took.
Results: `exact/<case>`, NaN where nobody knows it; `moments/<case>`, how many moments of a replicate are finite;
`rule/<case> [2]`, what a rule found by regression is worth on fresh paths, with its standard error, and `fitted/<case>`
by the paths of the fit. Of multilevel Monte Carlo with fixed levels, which also takes the jump that READ refuses:
`multilevel/<case> [R, 2]`, values and leaves of runs with the config's tolerance, `rates/<case> [R]`, the beta they
find, and `variances/<case> [level]`.
"""

from experiments.lib import app


def program(config, mesh):
    import warnings

    from experiments.lib import lanes
    from experiments.mlmc import reading
    from research.mlmc import bounds, read

    cases = {name: _case(config, name) for name in config.cases}

    def quietly(function, *args, **keywords):
        """The marks of heavy tails are among the results; that they are expected need not be said for every trace."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", bounds.HeavyTailWarning)
            return function(*args, **keywords)

    def advance(_, key, states):
        moved, metrics = {}, {}
        for name, (problem, params) in cases.items():
            result = quietly(read.run, problem, params, key, state=states[name])
            moved[name] = result.state
            found = reading.summary(result.trace, params.block)
            found["mean"] = _sound(found["mean"], result.status)
            metrics |= {f"{metric}/{name}": value for metric, value in found.items()}
        return moved, metrics

    def start(key):
        return {name: quietly(read.init, problem, params, key) for name, (problem, params) in cases.items()}

    return lanes.program(config, mesh, draw=lambda key: key, start=start, advance=advance, axes={}, in_turn=True)


def _case(config, name):
    """Problem and parameters of a case."""
    from experiments.lib.program import number
    from experiments.mlmc import application_problems
    from research.mlmc import read

    case = config.cases[name]
    problem = application_problems.built(case.kind, case.arguments, number(config))
    params = read.Params(
        r=tuple(case.r), b=tuple(case.b), block=case.block, estimator=case.estimator, num_steps=config.run.chunk,
    )  # fmt: skip
    return problem, params


def _sound(mean, status):
    import jax.numpy as jnp

    return jnp.where(status == 0, mean, jnp.nan)


def main(config, run, mesh):
    from experiments.lib import driver
    from experiments.mlmc import panels_applications

    driver.drive(program(config, mesh), config, run)
    if not run.results:
        run.results(**references(config), **rules(config), **fixed_levels(config))
    run.look(panels_applications.quick_look)


def references(config):
    """Exact values, and finite moments of READ's replicates."""
    import numpy as np

    from research.mlmc import bounds

    found = {}
    for name in config.cases:
        problem, params = _case(config, name)
        found[f"exact/{name}"] = np.float64(np.nan if problem.exact is None else problem.exact)
        found[f"moments/{name}"] = np.float64(bounds.moment_profile(problem, params.r)[0])
    return found


def rules(config):
    """What regression makes of the puts and the decisions."""
    import jax
    import numpy as np

    from research.core import prng
    from research.mlmc import decisions, regression, stopping

    found, sizes = {}, dict(config.regression)
    methods = {stopping.OptimalStopping: regression.longstaff_schwartz, decisions.Decision: regression.decide}
    for name in config.cases:
        problem, _ = _case(config, name)
        for kind, method in methods.items():
            if isinstance(problem, kind):
                key = prng.stream(prng.root_key(config.seed), f"regression/{name}")
                bounds = jax.jit(lambda key, p=problem, method=method: method(p, key, **sizes))(key)
                found[f"fitted/{name}"] = np.float64(bounds.fitted)
                found[f"rule/{name}"] = np.array([bounds.lower.value, bounds.lower.error], np.float64)
    return found


def fixed_levels(config):
    """Multilevel Monte Carlo with fixed levels on the cases of `config.levels`."""
    import jax
    import numpy as np

    from experiments.lib.program import number
    from experiments.mlmc import application_problems
    from research.core import prng
    from research.mlmc import moments, multilevel

    found = {}
    for name, case in config.levels.items():
        problem = application_problems.built(case.kind, case.arguments, number(config))
        params = multilevel.Params(tolerance=case.tolerance, max_level=case.max_level, initial=case.initial)
        solved = jax.jit(lambda key, p=problem, params=params: multilevel.run(p, params, key))
        keys = prng.replicate_keys(prng.stream(prng.root_key(config.seed), f"levels/{name}"), case.runs)
        results = [solved(key) for key in keys]
        found[f"exact/{name}"] = np.float64(problem.exact)
        found[f"multilevel/{name}"] = np.array([[result.value, result.leaves] for result in results], np.float64)
        found[f"rates/{name}"] = np.array([result.state.rates[1] for result in results], np.float64)
        variances = [moments.variance(result.state.samples)[:, 0] for result in results]
        # A level that a run did not need has no variance there.
        found[f"variances/{name}"] = np.ma.masked_invalid(np.array(variances, np.float64)).mean(axis=0).filled(np.nan)
    return found


if __name__ == "__main__":
    app.run(main, default_config="configs/mlmc/applications.py")
