"""Online matching with stochastic rewards: what policies earn of the matching program, and of the best policy S-OPT.

Cases `(kind, n, p or V)`: "triangular", the thick upper-triangular graph (n phases of 1/p copies; phase k is joined to
nodes k, k + 1, ...); "permuted", the same with its nodes renamed, so that ties no longer know the phases; "clicks",
random ad clicks with V arrivals and unequal probabilities. All replicates share the instance of a case.
A step is a run of every case by every policy. Metrics: `<policy> [R, case]`, mean value over the runs so far.
Results, `[case]`: `lp`, the matching program by HiGHS, and `optimum`, S-OPT exactly (0 beyond `problem.most` nodes).
Source: `huang:23` (Stochastic Balance), `goyal:23` (Perturbed Greedy).
"""

from experiments.lib import app

POLICIES = ("balance", "perturbed_greedy", "greedy", "random")


def instances(config):
    """The problems of all cases, in their own shapes."""
    from research.core import prng
    from research.matching import stochastic_problems as problems

    found = []
    for index, (kind, n, parameter) in enumerate(config.problem.cases):
        key = prng.per_step(prng.stream(prng.root_key(config.seed), kind), index)
        if kind == "clicks":
            found.append(problems.ad_clicks(key, n, parameter))
        else:
            graph = problems.upper_triangular(n, parameter)
            found.append(problems.permuted(key, graph) if kind == "permuted" else graph)
    return found


def program(config, mesh):
    import jax
    import jax.numpy as jnp

    from experiments.lib import lanes
    from research.matching import stochastic_rewards as rewards

    cases, chunk = config.problem.cases, config.run.chunk

    def common():
        """Padded to one shape: nodes and arrivals without edges take no part."""
        made = instances(config)
        n, steps = (max(one.success.shape[axis] for one in made) for axis in (0, 1))
        padded = [
            rewards.Problem(
                jnp.pad(one.success, ((0, n - one.success.shape[0]), (0, steps - one.success.shape[1]))),
                jnp.pad(one.weights, (0, n - one.weights.shape[0]), constant_values=1),
            )
            for one in made
        ]
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *padded)

    def advance(batch, key, state):
        first, totals = state
        keys = lanes.run_keys(key, first, chunk)
        params = {policy: rewards.Params(batch.success.shape[2], policy) for policy in POLICIES}

        def value(problem, policy):
            play = jax.vmap(lambda one: rewards.run(problem, params[policy], one).value)
            return jnp.mean(play(keys))

        added = {p: jax.lax.map(lambda problem, p=p: value(problem, p), batch) for p in POLICIES}
        totals = {policy: totals[policy] + added[policy] for policy in POLICIES}
        done = first + chunk
        return (done, totals), {policy: total * chunk / done for policy, total in totals.items()}

    def start(key):
        del key
        return jnp.int32(0), {policy: jnp.zeros(len(cases)) for policy in POLICIES}

    axes = {"case": tuple(f"{kind} {n}, {parameter:g}" for kind, n, parameter in cases), "policy": POLICIES}
    return lanes.program(
        config, mesh, draw=lambda key: key, start=start, advance=advance, axes=axes, common=common
    )  # fmt: skip


def main(config, run, mesh):
    from experiments.lib import driver
    from experiments.matching import panels_rewards
    from research.matching import stochastic_oracles, stochastic_rewards

    driver.drive(program(config, mesh), config, run)
    if not run.results:
        made = instances(config)
        small = [one.success.shape[0] <= config.problem.most for one in made]
        run.results(
            lp=[stochastic_oracles.matching_program(one.success, one.weights)[0] for one in made],
            optimum=[float(stochastic_rewards.optimum(m)) if s else 0.0 for m, s in zip(made, small, strict=True)],
        )
    run.look(panels_rewards.quick_look)


if __name__ == "__main__":
    app.run(main, default_config="configs/matching/rewards.py")
