"""How much of a photograph is left after halving it with a pool and enlarging it again.

A step is a photograph, in grey, [0, 1]; a replicate is a place of the crop taken from it. Each of `algo.pools`, and
SoftPool of each sharpness of `algo.betas`, halves both sides with 2 x 2 windows. Metrics, `[R, pool]` and, under names
that end in `/beta`, `[R, beta]`: `psnr`, dB, and `ssim` of the picture enlarged linearly; `psnr_nearest` of the picture
with every element repeated; `better`, the share of windows in which the pool's squared error, elements repeated, is
less than the average's: 0, since the mean has the least squared error of all constants (T5).
Source: `stergiou:21`, the table of image similarity, for the question.
"""

from experiments.lib import app

#: Structural similarity of `wang:04` with 7 x 7 uniform windows and unbiased covariances, on pictures in [0, 1].
SSIM_WINDOW, SSIM_K1, SSIM_K2 = 7, 0.01, 0.03
#: A smaller mean squared error counts as this one, 100 dB: a crop of black sky has none.
LEAST = 1e-10
#: What rounding may take from a squared error.
ROUNDING = 1e-6


def halved(x, names, betas):
    """Every pool of `[1, H, W, 1]`, on the first axis."""
    import jax.numpy as jnp

    from research.pooling.windows import window_pool

    known = {
        "average": lambda: window_pool(x, "avg", 2),
        "L2": lambda: 0.5 * window_pool(x, "lp", 2, params={"p": 2.0}),
        "GeM 3": lambda: window_pool(x, "power", 2, params={"p": 3.0}),
        "SoftPool 1": lambda: window_pool(x, "soft", 2, params={"beta": 1.0}),
        "SoftPool 10": lambda: window_pool(x, "soft", 2, params={"beta": 10.0}),
        "mixed 1/2": lambda: window_pool(x, "mixed", 2, params={"a": 0.5}),
        "first": lambda: x[:, ::2, ::2],
        "max": lambda: window_pool(x, "max", 2),
    }
    many = jnp.broadcast_to(x, (*x.shape[:3], len(betas)))  # a channel for every sharpness
    by_beta = window_pool(many, "soft", 2, params={"beta": jnp.asarray(betas, x.dtype)})
    return jnp.concatenate([*(known[name]() for name in names), jnp.moveaxis(by_beta, 3, 0)[:, 0, ..., None]])


def ssim(x, y):
    """Mean structural similarity of `[B, H, W, 1]` pictures in [0, 1], `[B]`."""
    from research.pooling.windows import window_pool

    def mean(z):
        return window_pool(z, "avg", SSIM_WINDOW, 1)

    unbiased = SSIM_WINDOW**2 / (SSIM_WINDOW**2 - 1)
    mx, my = mean(x), mean(y)
    xx, yy, xy = (unbiased * (mean(a * b) - mean(a) * mean(b)) for a, b in ((x, x), (y, y), (x, y)))
    found = (2 * mx * my + SSIM_K1**2) * (2 * xy + SSIM_K2**2)
    return (found / ((mx**2 + my**2 + SSIM_K1**2) * (xx + yy + SSIM_K2**2))).mean(axis=(1, 2, 3))


def program(config, mesh):
    import jax
    import jax.numpy as jnp

    from experiments.data import pictures
    from experiments.lib import lanes
    from experiments.lib.program import number

    size, dtype = config.problem.size, number(config)
    names, betas = tuple(config.algo.pools), tuple(config.algo.betas)

    def psnr(error):
        return -10 * jnp.log10(jnp.maximum(error.mean(axis=(1, 2, 3)), LEAST))

    def advance(photographs, corner, picture):
        x = jax.lax.dynamic_slice(photographs, (picture, *corner), (1, size, size))[..., None]
        small = halved(x, names, betas)
        linear = jax.image.resize(small, (small.shape[0], size, size, 1), "linear")
        repeated = jnp.repeat(jnp.repeat(small, 2, axis=1), 2, axis=2)
        same = jnp.broadcast_to(x, linear.shape)
        nearest = jnp.square(repeated - same)
        blocks = nearest.reshape(-1, size // 2, 2, size // 2, 2).mean(axis=(2, 4))
        least = blocks[names.index("average")][None]
        found = {
            "psnr": psnr(jnp.square(linear - same)), "ssim": ssim(linear, same), "psnr_nearest": psnr(nearest),
            "better": jnp.mean(blocks < least - ROUNDING, axis=(1, 2)),
        }  # fmt: skip
        metrics = {name: value[: len(names)] for name, value in found.items()}
        return picture + 1, metrics | {f"{name}/beta": value[len(names) :] for name, value in found.items()}

    def corner(key):
        return jax.random.randint(key, (2,), 0, pictures.SIDE - size + 1)

    axes = {"pool": names, "beta": tuple(f"{beta:g}" for beta in betas), "picture": pictures.NAMES}
    return lanes.program(
        config, mesh, draw=lambda key: tuple(corner(key)), start=lambda _: jnp.int32(0), advance=advance,
        common=lambda: jnp.asarray(pictures.load(), dtype), axes=axes, in_turn=True,
        common_shape=jax.ShapeDtypeStruct((len(pictures.NAMES), pictures.SIDE, pictures.SIDE), dtype),
    )  # fmt: skip


def main(config, run, mesh):
    from experiments.lib import driver
    from experiments.pooling import panels_downsampling

    driver.drive(program(config, mesh), config, run)
    run.look(panels_downsampling.quick_look)


if __name__ == "__main__":
    app.run(main, default_config="configs/pooling/downsampling.py")
