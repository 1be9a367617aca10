"""Compiles one exported program for an NVIDIA GPU that is not there. Run by `gpu.py` in a process of its own.

    python -P gpu_child.py FOLDER

reads FOLDER/program (a serialized `jax.export`), FOLDER/target (the device in text form) and FOLDER/request.json (axes
of the mesh, donated arguments). It writes FOLDER/outcome.json: {"refused": why} where the input is wrong, {"why_not":
why} where it does not compile, or what was found. The caller asks for the dump of kernels, in XLA_FLAGS.
"""

import json
import math
import pathlib
import re
import resource
import sys
import time

import jax
import numpy as np
from jax import export
from jax.experimental import topologies
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

#: Custom calls whose code is in the dump, as kernels; the others call a library.
_KERNELS = ("__gpu$xla.gpu.triton", "mosaic_gpu")


class _RefusedError(Exception):
    pass


def main(folder: pathlib.Path) -> None:
    try:
        program = _program((folder / "program").read_bytes())
        request = json.loads((folder / "request.json").read_text())
        outcome = _compiled(program, (folder / "target").read_text(), **request)
    except _RefusedError as error:
        outcome = {"refused": str(error)}
    outcome["host_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    (folder / "outcome.json").write_text(json.dumps(outcome))


def _program(serialized):
    try:
        program = export.deserialize(bytearray(serialized))
    except Exception as error:  # flatbuffers and jax raise whatever the first wrong byte leads to
        raise _RefusedError(f"not a serialized jax.export ({_first_line(error)})") from error
    if "cuda" not in program.platforms:
        raise _RefusedError(f"exported for {', '.join(program.platforms)}, not for cuda")
    for number, argument in enumerate(program.in_avals):
        if not all(isinstance(size, int) for size in argument.shape):
            raise _RefusedError(f"argument {number} has the symbolic shape {argument.str_short()}; give it fixed sizes")
    return program


def _compiled(program, target, axes, donated):
    arguments = _arguments(program, target, axes)
    start = time.monotonic()
    try:
        compiled = jax.jit(program.call, donate_argnums=donated).lower(*arguments).compile()
    except Exception as error:  # the answer of the whole process: whatever stops it is why it does not compile
        return {"why_not": _first_line(error), "devices": program.nr_devices, "compile_seconds": _since(start)}
    text = compiled.as_text()
    calls = set(re.findall(r'custom_call_target="([^"]+)"', text))
    memory = compiled.memory_analysis()
    return {
        "devices": program.nr_devices,
        "libraries": sorted(name for name in calls if not name.startswith(_KERNELS)),
        "gemms": "gemm_fusion" in text,
        "memory": {
            "arguments": memory.argument_size_in_bytes,
            "outputs": memory.output_size_in_bytes,
            "aliased": memory.alias_size_in_bytes,
            "temporaries": memory.temp_size_in_bytes,
        },
        "compile_seconds": _since(start),
    }


def _arguments(program, target, axes):
    """Abstract arguments, placed as the export says on the mesh that it was made for."""
    names, sizes = zip(*axes, strict=True) if axes else (("device",), (1,))
    count = math.prod(sizes)
    if count != program.nr_devices:
        raise _RefusedError(f"axes are those of {count} devices, but it was exported for {program.nr_devices}")
    shape = f"1x{count // 8}x8" if count % 8 == 0 else f"1x1x{count}"
    topology = topologies.get_topology_desc("", platform="cuda", target_config=target, topology=shape)
    mesh = Mesh(np.array(topology.devices).reshape(sizes), names, axis_types=(AxisType.Auto,) * len(names))
    shardings = program.in_shardings_jax(mesh) if axes else [None] * len(program.in_avals)
    whole = NamedSharding(mesh, PartitionSpec())
    return [
        jax.ShapeDtypeStruct(argument.shape, argument.dtype, sharding=sharding or whole)
        for argument, sharding in zip(program.in_avals, shardings, strict=True)
    ]


def _since(start):
    return time.monotonic() - start


def _first_line(error):
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


if __name__ == "__main__":
    # Types are fixed by the export; without this, 64-bit arguments would be narrowed and no longer fit it.
    jax.config.update("jax_enable_x64", True)
    main(pathlib.Path(sys.argv[1]))
