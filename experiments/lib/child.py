"""A function of an experiment in a process of its own, which has as many CPU devices as it is asked to have."""

import importlib
import math
import os
import pathlib
import subprocess
import sys
import tempfile

from experiments.lib.errors import RunError

__all__ = ["on_cpu_devices"]


def on_cpu_devices(module: str, function: str, config, axes: dict[str, int]):
    """What `module.function(config, mesh)` returns, a dict of arrays, where the mesh has these axes over CPU devices.

    Args:
      module: name of a module of `experiments`.
      axes: as `experiments.lib.mesh.build` takes them, all given.

    Raises:
      RunError: the process failed; with the end of what it said.
    """
    import numpy as np

    count = math.prod(axes.values())
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "found.npz"
        text = ",".join(f"{name}:{size}" for name, size in axes.items())
        command = [sys.executable, "-m", __name__, module, function, config.to_json(), text, str(path)]
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if ended.returncode:
            raise RunError(f"a process with {count} CPU devices failed: {ended.stderr.strip()[-300:]}")
        with np.load(path) as found:
            return dict(found)


def _main(module, function, config, axes, path):
    import json

    import ml_collections
    import numpy as np

    from experiments.lib import backend
    from experiments.lib import mesh as mesh_lib

    sizes, config = mesh_lib.parse(axes), ml_collections.ConfigDict(json.loads(config))
    backend.configure(config.numerics, cpu_devices=math.prod(sizes.values()), compile_cache="off")
    mesh = mesh_lib.build(sizes)
    np.savez(path, **getattr(importlib.import_module(module), function)(config, mesh))


if __name__ == "__main__":
    _main(*sys.argv[1:])
