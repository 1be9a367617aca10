"""Experts split over devices: are loads and biases those of one device, and what does each device send and compute?

A step routes fresh tokens through one layer of experts and updates the bias after it; a replicate is a seed of tokens
and weights. Tokens, the router's matrix and the step size are multiples of powers of two, so that logits and biases are
exact in float32 and no order of sums can move a token to another expert. Metrics, `[R]`: `violation`, MaxVio of the
step's batch, and `spread` of the bias.
Results, for the first replicate's seed, from a process of its own whose CPU has as many devices as the largest mesh:
`devices`, `data`, `model [n]`, the meshes; `load` and `bias [n, N, E]` after every step, and `choices [N, E]`, loads by
NumPy at the same biases; `distance [n]`, largest difference of outputs from those on one device over the
largest output; `received [n, N]`, most rows that a device computes, over T K / n, its share; `rounds [n, N]` of the
exchange; `bytes [n]` that a device hands to others in a round.
Source: none, it is how the layer is laid out (`research.balancing.expert_parallel`).
"""

from experiments.lib import app


def _router(config):
    from research.balancing.bias_update import Rule
    from research.balancing.loss_free import LossFree

    rule = Rule(step_size=config.algo.step_size)
    return LossFree(config.problem.experts, config.algo.top_k, rule, gate="softmax", bias_space="logit")


def _layer(config, key):
    """The router's matrix, whose first row, of the constant feature, prefers some experts; and experts' weights."""
    import jax
    import jax.numpy as jnp

    from research.core import prng

    width, hidden, count = config.problem.width, config.problem.hidden, config.problem.experts
    drawn = jax.random.normal(prng.stream(key, "router"), (width, count))
    matrix = jnp.round(8 * drawn / width**0.5) / 8
    preferred = jnp.round(8 * config.problem.skew * jnp.linspace(1, -1, count)) / 8
    shapes = {"gate": (count, width, hidden), "up": (count, width, hidden), "down": (count, hidden, width)}
    weights = {
        name: jax.random.normal(prng.stream(key, name), shape) / shape[1] ** 0.5 for name, shape in shapes.items()
    }
    return matrix.at[0].set(preferred), weights


def _tokens(config, key, step):
    import jax
    import jax.numpy as jnp

    from research.core import prng

    shape = config.problem.tokens, config.problem.width
    drawn = jax.random.normal(prng.per_step(prng.stream(key, "tokens"), step), shape)
    return (jnp.round(4 * drawn) / 4).at[:, 0].set(1)


def program(config, mesh):
    import jax
    import jax.numpy as jnp

    from experiments.lib import lanes
    from research.balancing import expert_parallel, metrics

    router = _router(config)

    def advance(_, key, state):
        matrix, weights = _layer(config, key)

        def one(state, _):
            number, routing = state
            x = _tokens(config, key, number)
            _, load, routing = expert_parallel.layer_step(router, routing, x, matrix, weights)
            return (number + 1, routing), load

        state, loads = jax.lax.scan(one, state, length=config.run.chunk)
        bias = state[1].bias
        return state, {"violation": metrics.max_violation(loads[-1]), "spread": jnp.max(bias) - jnp.min(bias)}

    return lanes.program(
        config, mesh, draw=lambda key: key, start=lambda key: (jnp.int32(0), router.init()), advance=advance, axes={},
        in_turn=True,
    )  # fmt: skip


def _ran(config, mesh):
    """Loads, biases, outputs and tokens of every step; and the router's matrix."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    from research.balancing import expert_parallel
    from research.core import prng

    router = _router(config)

    @jax.jit
    def ran(key):
        matrix, weights = _layer(config, key)

        def one(state, number):
            x = _tokens(config, key, number)
            factor = config.algo.capacity_factor
            out, load, state = expert_parallel.layer_step(
                router, state, x, matrix, weights, mesh=mesh, capacity_factor=factor
            )
            return state, {"load": load, "bias": state.bias, "out": out, "x": x}

        return jax.lax.scan(one, router.init(), jnp.arange(config.run.num_steps))[1] | {"matrix": matrix}

    return jax.tree.map(np.asarray, ran(prng.replicate_keys(prng.root_key(config.seed), 1)[0]))


def _chosen(config, alone):
    """Slots of each token at each expert, `[N, T, E]`: NumPy's choice at the same biases, which is exact as well."""
    import numpy as np

    before = np.concatenate([np.zeros_like(alone["bias"][:1]), alone["bias"][:-1]])
    index = np.argsort(-(alone["x"] @ alone["matrix"] + before[:, None]), axis=-1, kind="stable")
    chosen = np.zeros(index.shape, np.int32)
    np.put_along_axis(chosen, index[..., : config.algo.top_k], 1, axis=-1)
    return chosen


def _traffic(config, data, model, chosen):
    """What the exchange on a mesh carries, from where tokens are and what they chose."""
    import numpy as np

    from research.balancing import expert_parallel

    devices, slots, held = data * model, config.algo.top_k, config.problem.experts // model
    tokens = config.problem.tokens // devices
    plan = expert_parallel.plan(tokens, slots, held, model, config.algo.capacity_factor)
    rows = chosen.reshape(-1, data, model, tokens, model, held).sum(axis=(3, 5))  # [N, data, from, to]
    return {
        "received": rows.sum(axis=2).max(axis=(1, 2)) / (tokens * slots),
        "rounds": np.maximum(1, np.ceil(rows.max(axis=(1, 2, 3)) / plan.capacity)),
        "bytes": expert_parallel.bytes_sent(plan, model, config.problem.width, 4),
    }


def on_devices(config, mesh):
    """Results of the module's docstring, on meshes of the first devices of this one."""
    import numpy as np
    from jax.sharding import Mesh

    from research.balancing import expert_parallel

    alone = _ran(config, None)
    chosen, scale, found = _chosen(config, alone), np.max(np.abs(alone["out"])), []
    for count in config.run.devices:
        model = min(count, config.algo.model_axis)
        data = count // model
        part = Mesh(mesh.devices.reshape(-1)[:count].reshape(data, model), expert_parallel.AXES)
        one = alone if count == 1 else _ran(config, part)
        found.append(
            {"devices": count, "data": data, "model": model, "load": one["load"], "bias": one["bias"]}
            | {"distance": np.max(np.abs(one["out"] - alone["out"])) / scale}
            | _traffic(config, data, model, chosen)
        )
    return {name: np.stack([each[name] for each in found]) for name in found[0]} | {"choices": chosen.sum(axis=1)}


def spread(config):
    """The same, in a process of its own with as many CPU devices as the largest mesh."""
    from experiments.lib import child

    axes = {"rep": 1, "data": 1, "model": max(config.run.devices)}
    return child.on_cpu_devices("experiments.balancing.ep_scaling", "on_devices", config, axes)


def main(config, run, mesh):
    from experiments.balancing import panels_ep_scaling
    from experiments.lib import driver

    driver.drive(program(config, mesh), config, run)
    if not run.results:
        run.results(**spread(config))
    run.look(panels_ep_scaling.quick_look)


if __name__ == "__main__":
    app.run(main, default_config="configs/balancing/ep_scaling.py")
