"""Every router on the same trained logits: balance, quality, drops, experts in use, time.

A replicate is a seed: a small next-byte model (`byte_mixture`) is trained without balancing; biases of loss-free
routers follow its logits batch by batch as passengers. After every chunk all routers take one fresh batch. Metrics, by
router `[R, router]`: `violation` (MaxVio); `device_violation` of four devices; `value`, the total of the softmax scores
of the chosen experts over the optimum with equal loads (its dual bound), 0 where they do not compare; `dropped`, a
share of the slots; `unique`, the mean number of experts with weights that sixteen neighbouring tokens need. Also
`loss [R]`, nats per byte, and `balance [R, loss]`, losses of plain top-K. Results: `milliseconds [router]`, median time
of a compiled routing of one batch.
Source: those of the routers' modules.
"""

from experiments.lib import app


def program(config, mesh):
    import jax
    import jax.numpy as jnp
    import optax

    from experiments.balancing import byte_mixture, operator_rows
    from experiments.lib import lanes
    from research.core import prng

    problem, algo = config.problem, config.algo
    routers = operator_rows.made(algo)
    biased = {label: router for label, router in routers.items() if operator_rows.stateful(label)}
    beside = bool({"recurrent", "chain"} & set(routers))
    optimizer = optax.adam(algo.learning_rate)
    shape = {"layers": 2, "width": algo.width, "experts": algo.experts, "expert_width": algo.expert_width}

    def start(key):
        learned = byte_mixture.weights(prng.stream(key, "weights"), **shape, recurrent=algo.recurrent)
        states = {label: router.init() for label, router in biased.items()}
        return key, jnp.int32(0), learned, optimizer.init(learned), states

    def batch(text, key, number):
        return byte_mixture.batch_of(text, jax.random.fold_in(key, number), problem.sequences, problem.length)

    def train(text, state, _):
        key, step, learned, moments, states = state
        given = batch(text, prng.stream(key, "training"), step)
        grads, (nats, seen) = jax.grad(byte_mixture.loss, has_aux=True)(learned, given, algo.top_k, beside)
        moved, moments = optimizer.update(grads, moments)
        for label, router in biased.items():
            routing = operator_rows.routed(label, router, states[label], learned, seen, given.sequence)
            updated = router.update(states[label], routing.load, routing.aux.get("summary", ()))
            states = states | {label: updated}
        return (key, step + 1, optax.apply_updates(learned, moved), moments, states), nats

    def advance(text, _, state):
        state, nats = jax.lax.scan(lambda s, x: train(text, s, x), state, length=config.run.chunk)
        key, step, learned, _, states = state
        given = batch(text, prng.stream(key, "evaluation"), step)
        _, seen = byte_mixture.forward(learned, given.window, algo.top_k)
        optimum = operator_rows.optima(routers, seen.logits[-1], algo.sweeps)
        found = []
        for label, router in routers.items():
            routing = operator_rows.routed(label, router, states.get(label, ()), learned, seen, given.sequence)
            found.append(operator_rows.measured(label, router, routing, seen.logits[-1], optimum))
        report = jax.tree.map(lambda *cells: jnp.stack(cells), *found)._asdict()
        balance = operator_rows.losses(seen.logits[-1], algo.top_k, given.sequence)
        return state, report | {"loss": nats.mean(), "balance": balance}

    return lanes.program(
        config, mesh, draw=lambda key: key, start=start, advance=advance, common=lambda: _text(problem),
        common_shape=jax.ShapeDtypeStruct((problem.bytes,), "uint8"), in_turn=True,
        axes={"router": tuple(routers), "loss": operator_rows.LOSSES},
    )  # fmt: skip


def _text(problem):
    """The first bytes of the standard library. Raises DataError where it has fewer."""
    from experiments.data import pylib
    from experiments.data.fetch import DataError

    found = pylib.load(problem.validation)
    if len(found.tokens) < problem.bytes:
        raise DataError(f"pylib must have at least {problem.bytes:,} bytes, found {len(found.tokens):,}.")
    return found.tokens[: problem.bytes]


def milliseconds(config, data, state):
    """Median time of each router's compiled routing on a batch of the first replicate; NaN of those not timed."""
    import functools
    import time

    import jax
    import numpy as np

    from experiments.balancing import byte_mixture, operator_rows
    from research.core import prng

    (text, _), (keys, _, learned, _, states) = data, state
    learned, states = jax.tree.map(lambda leaf: leaf[0], (learned, states))
    problem = config.problem
    given = byte_mixture.batch_of(text, prng.stream(keys[0], "timing"), problem.sequences, problem.length)
    _, seen = jax.jit(functools.partial(byte_mixture.forward, top_k=config.algo.top_k))(learned, given.window)
    found = []
    for label, router in operator_rows.made(config.algo).items():
        repeats = []
        if config.run.timings:
            arguments = states.get(label, ()), learned, seen, given.sequence
            call = jax.jit(functools.partial(operator_rows.routed, label, router)).lower(*arguments).compile()
            for _ in range(config.run.timings + 1):  # the first warms up
                began = time.perf_counter()
                jax.block_until_ready(call(*arguments))
                repeats.append(time.perf_counter() - began)
        found.append(1e3 * np.median(repeats[1:]) if repeats else np.nan)
    return np.array(found)


def main(config, run, mesh):
    from experiments.balancing import panels_operators
    from experiments.lib import driver

    data, state = driver.drive(program(config, mesh), config, run)
    if not run.results:
        run.results(milliseconds=milliseconds(config, data, state))
    run.look(panels_operators.quick_look)


if __name__ == "__main__":
    app.run(main, default_config="configs/balancing/operators.py")
