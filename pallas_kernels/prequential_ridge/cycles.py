"""Static cycle estimate of the TPU kernel against XLA's own schedule of the same blocks: a model, not a measurement.

  python -m pallas_kernels.prequential_ridge.cycles --programs=32

Both are compiled for one abstract chip, on rows already gathered, in child processes that carry the compiler's
profiling flags. The fixed cost of a call is removed by taking the difference between two numbers of blocks.
"""

import argparse
import os
import pathlib
import re
import subprocess
import sys
import tempfile

__all__ = ["estimate"]

_CASE = """
import jax, jax.numpy as jnp
from jax.experimental import topologies
from jax.sharding import SingleDeviceSharding
from pallas_kernels import _blocks
from pallas_kernels.prequential_ridge import kernel_tpu, xla
chip, impl, programs, blocks, dim, size, together = {arguments!r}
where = SingleDeviceSharding(topologies.get_topology_desc(platform="tpu", topology_name=chip).devices[0])
place = lambda *shape, dtype=jnp.float32: jax.ShapeDtypeStruct(shape, dtype, sharding=where)
if impl == "kernel":
    columns, sizes = _blocks.round_up(dim + 1, _blocks.LANES), _blocks.BlockSizes(size, together)
    groups = programs // together
    rows, used = place(groups, blocks, together, size, columns), place(groups, dtype=jnp.int32)
    args = (rows, place(programs, columns, columns), used)
    run = lambda *a: kernel_tpu.stream(*a, width=dim, sizes=sizes)
else:
    args = (place(programs, dim, dim), place(programs, dim), place(programs, size, dim), place(programs, size))
    run = jax.vmap(xla.learn)
jax.jit(run).lower(*args).compile()
"""


def estimate(impl, *, chip="v5e:2x2", programs=8, dim=96, size=32, together=8):
    """Cycles per program and block of `impl`, "kernel" or "xla".

    Raises:
      RuntimeError: the compiler is missing or wrote no profile; the message has the end of its output.
    """
    together = min(together, programs)
    common = {"chip": chip, "impl": impl, "dim": dim, "size": size, "together": together}
    if impl == "xla":
        return _cycles(**common, programs=programs, blocks=1) / programs
    # Groups of programs follow one another, so one group tells; the model loses count where several depend on data.
    few, more = (_cycles(**common, programs=together, blocks=blocks) for blocks in (2, 6))
    return (more - few) / (4 * together)


def _cycles(*, chip, impl, programs, blocks, dim, size, together):
    with tempfile.TemporaryDirectory() as folder:
        environment = dict(
            os.environ,
            JAX_PLATFORMS="cpu",
            ALLOW_MULTIPLE_LIBTPU_LOAD="1",
            TPU_SKIP_MDS_QUERY="1",
            TPU_ACCELERATOR_TYPE="v5litepod-4",
            TPU_WORKER_HOSTNAMES="localhost",
            TPU_WORKER_ID="0",
            TPU_LOG_DIR="disabled",
            LIBTPU_INIT_ARGS=f"--xla_jf_dump_static_llo_profile_to={folder}",
        )
        case = _CASE.format(arguments=(chip, impl, programs, blocks, dim, size, together))
        done = subprocess.run(
            [sys.executable, "-c", case], env=environment, capture_output=True, text=True, timeout=300
        )
        found = [re.search(r"estimated_cycles: (\d+)", p.read_text()) for p in pathlib.Path(folder).glob("*.textproto")]
    total = sum(int(match[1]) for match in found if match)
    if done.returncode or not total:
        raise RuntimeError(f"no cycle estimate for {impl}: {done.stderr[-400:] or 'the compiler wrote no profile'}")
    return total


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--chip", default="v5e:2x2")
    parser.add_argument("--programs", type=int, default=32)
    parser.add_argument("--dim", type=int, default=96)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--together", type=int, default=8)
    options = vars(parser.parse_args(arguments))
    kernel, xla = (estimate(impl, **options) for impl in ("kernel", "xla"))
    print(f"{options}: cycles per program and block: kernel {kernel:.0f}, XLA {xla:.0f}, ratio {xla / kernel:.1f}")


if __name__ == "__main__":
    main()
