"""Every bound of the two algorithms against root mean squares over seeds, in float64.

Replicates are seeds of coins and indices, independent of each other; the instances are the same for all. A step is a
checkpoint of every method. Metrics, `[R, instance]`, are squares of what a theorem bounds: `page`, |F(u_k) + g_k| of
Algorithm 1 at its certified step, on least squares; `vr_forb`, |v_M - J| on a resolvent's subproblem; `exact`,
`reflected` and `inexact`, |u_k - J(u_k)| of Algorithm 2 with exact resolvents, with those reflected, and with the inner
solves that the theory asks for, on bilinear problems. Results: `allowed/<metric> [points, instance]`, their bounds, and
`counts/<metric> [points]`, the k or M that they speak of.
Theorems: `research.halpern.bounds`.
"""

from experiments.lib import app

#: Iterations between two checkpoints.
STRIDES = {"page": 16, "vr_forb": 16}
#: s of VR-FoRB: where its bound is best.
SAFETY = 0.5


def methods():
    """name -> module, params."""
    from research.halpern import page, resolvent, vr_forb

    plain = {"num_steps": 1, "restart": 0.0}
    return {
        "page": (page, page.Params(num_steps=1, stride=STRIDES["page"])),
        "vr_forb": (vr_forb, vr_forb.Params(num_steps=1, stride=STRIDES["vr_forb"], safety=SAFETY)),
        "exact": (resolvent, resolvent.Params(**plain, schedule="exact")),
        "reflected": (resolvent, resolvent.Params(**plain, schedule="exact", reflected=True)),
        "inexact": (resolvent, resolvent.Params(**plain, schedule="theory")),
    }


def drawn(config):
    """Problems of both classes with their distances, on a leading axis; spectra from flat to steep."""
    import jax
    import jax.numpy as jnp

    from experiments.halpern import instances
    from experiments.lib.program import number
    from research.core import prng

    dtype, asked = number(config), config.problem
    keys = prng.replicate_keys(prng.root_key(asked.instance_seed), asked.instances)
    decay = jnp.linspace(0.0, 1.5, asked.instances, dtype=dtype)
    least = jax.vmap(lambda key, decay: instances.least_squares(key, decay, asked.size, asked.dim, dtype))
    saddle = jax.vmap(lambda key, decay: instances.saddle(key, decay, asked.saddle_size, dtype))
    return {"least": least(keys, decay), "saddle": saddle(keys, decay)}


def posed(name, data):
    """The problem that a method is run on; of one instance."""
    from research.halpern import resolvent
    from research.halpern.inclusions import Problem
    from research.halpern.subproblem import Subproblem

    (least, _), (saddle, _) = data["least"], data["saddle"]
    if name != "vr_forb":
        return least if name == "page" else saddle
    scale = resolvent.resolvent_step(saddle, methods()["exact"][1])
    return Problem(Subproblem(saddle.inclusion, saddle.start, scale), saddle.start)


def program(config, mesh):
    import jax
    import optax

    from experiments.lib import mesh as mesh_lib
    from experiments.lib.program import Program
    from research.core import prng, sharding
    from research.halpern import resolvent

    table = methods()

    def start(data, key):
        def one(data, key):
            return {
                name: method.init(posed(name, data), params, prng.stream(key, name))
                for name, (method, params) in table.items()
            }

        return jax.vmap(one)(data, prng.replicate_keys(key, config.problem.instances))

    def squared_error(v, data, center):
        """Of v as the resolvent of `center`."""
        saddle, _ = data["saddle"]
        scale = resolvent.resolvent_step(saddle, table["exact"][1])
        return optax.tree.norm(optax.tree.sub(v, saddle.inclusion.resolvent(center, scale)), squared=True)

    def advance(data, states):
        def one(data, states):
            moved = {
                name: method.run(posed(name, data), params, state=states[name]).state
                for name, (method, params) in table.items()
            }
            found = {name: squared_error(states[name].u, data, states[name].u) for name in table if _outer(name)}
            found["page"] = moved["page"].ledger.residual ** 2
            found["vr_forb"] = squared_error(moved["vr_forb"].iterate.point, data, data["saddle"][0].start)
            return moved, found

        return jax.vmap(one)(data, states)

    def replicates(data):
        keys = prng.replicate_keys(prng.root_key(config.seed), config.run.replicates)
        return jax.vmap(start, in_axes=(None, 0))(data, keys)

    shapes = sharding.replicated(jax.eval_shape(lambda: drawn(config)), mesh)
    state_shapes = sharding.split_replicates(jax.eval_shape(replicates, shapes), mesh)

    def init():
        data = sharding.replicated(jax.jit(lambda: drawn(config))(), mesh)
        placed = jax.tree.map(lambda leaf: leaf.sharding, state_shapes)
        return data, jax.jit(replicates, out_shardings=placed)(data)

    labels = tuple(f"instance {k}" for k in range(config.problem.instances))
    lanes = mesh_lib.over_replicates(mesh, advance, shared=1)
    return Program(init, lanes, (shapes, state_shapes), ("seed",), {"instance": labels})


def _outer(name):
    return name in ("exact", "reflected", "inexact")


def allowed(config, data):
    """The bounds of all metrics, not squared, and what they are functions of."""
    import jax
    import jax.numpy as jnp

    from research.halpern import bounds, page, resolvent, vr_forb

    table, points = methods(), jnp.arange(config.run.num_steps)
    counts = {name: (points + 1) * STRIDES[name] for name in STRIDES}
    counts |= {name: points for name in table if _outer(name)}

    def one(data):
        (least, far), (saddle, distance) = data["least"], data["saddle"]
        step_size = page.certified_step(least, table["page"][1])
        subproblem = posed("vr_forb", data)
        rates = vr_forb.rates(subproblem.inclusion, table["vr_forb"][1])
        scale = resolvent.resolvent_step(saddle, table["exact"][1])
        solution = saddle.inclusion.resolvent(saddle.start, scale)
        start = sum(jnp.sum((a - b) ** 2) for a, b in zip(saddle.start, solution, strict=True))
        return {
            "page": bounds.page_residual(counts["page"], step_size, least.inclusion.lipschitz, far),
            "vr_forb": jnp.sqrt(bounds.vr_forb(counts["vr_forb"], *rates, SAFETY) * start),
            "exact": bounds.halpern_exact(points, distance),
            "reflected": bounds.halpern_reflected(points, distance),
            "inexact": bounds.halpern_inexact(len(points), distance),
        }

    found = jax.jit(jax.vmap(one, out_axes=1))(data)
    return {f"allowed/{name}": values for name, values in found.items()} | {
        f"counts/{name}": values for name, values in counts.items()
    }


def main(config, run, mesh):
    from experiments.halpern import panels_bounds
    from experiments.lib import driver

    data, _ = driver.drive(program(config, mesh), config, run)
    if not run.results:
        run.results(**allowed(config, data))
    run.look(panels_bounds.quick_look)


if __name__ == "__main__":
    app.run(main, default_config="configs/halpern/bounds.py")
