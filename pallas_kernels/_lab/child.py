"""The child process: compiles one exported program for devices that are not there, and says what came of it.

  python -m pallas_kernels._lab.child FOLDER

FOLDER holds `request.json` and `program.bin`; the child writes `result.json` and `compiled.txt` into it, and the
compiler its dumps. A process of its own, because the compiler's flags hold for a whole process and because the
profiler ends the process where its model stops.
"""

import json
import math
import pathlib
import re
import resource
import sys
import time


def main(folder: str) -> None:
    folder = pathlib.Path(folder)
    request = json.loads((folder / "request.json").read_text())
    result = _compile(folder, request)
    usage = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    result["host_bytes"] = usage if sys.platform == "darwin" else usage * 1024
    (folder / "result.json").write_text(json.dumps(result))


def _compile(folder, request):
    import jax
    import numpy as np
    from jax import export
    from jax.experimental import topologies
    from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec, SingleDeviceSharding

    # The exported program has its types already; without this, float64 arguments would be made float32 here.
    jax.config.update("jax_enable_x64", True)
    began = time.perf_counter()
    devices = topologies.get_topology_desc(
        platform="tpu", topology_name=request["topology"], **request["options"]
    ).devices
    exported = export.deserialize(bytearray((folder / "program.bin").read_bytes()))
    if request["axes"]:
        names, sizes = zip(*request["axes"], strict=True)
        used = np.array(devices[: math.prod(sizes)]).reshape(sizes)
        mesh = Mesh(used, names, axis_types=(AxisType.Auto,) * len(names))
        whole = NamedSharding(mesh, PartitionSpec())
        shardings = [given or whole for given in exported.in_shardings_jax(mesh)]
    else:
        shardings = [SingleDeviceSharding(devices[0])] * len(exported.in_avals)
    arguments = [
        jax.ShapeDtypeStruct(aval.shape, aval.dtype, sharding=sharding)
        for aval, sharding in zip(exported.in_avals, shardings, strict=True)
    ]
    lowered = jax.jit(exported.call, donate_argnums=request["donated"]).lower(*arguments)
    lower_seconds, began = time.perf_counter() - began, time.perf_counter()
    try:
        compiled = lowered.compile()
    except jax.errors.JaxRuntimeError as error:
        return _refusal(str(error)) | {"lower_seconds": lower_seconds}
    result = {"lower_seconds": lower_seconds, "compile_seconds": time.perf_counter() - began}
    (folder / "compiled.txt").write_text(compiled.as_text())
    stats = compiled.memory_analysis()
    fields = {"arguments": "argument", "outputs": "output", "aliased": "alias", "temporaries": "temp",
              "code": "generated_code"}  # fmt: skip
    result["memory"] = {name: getattr(stats, f"{field}_size_in_bytes") for name, field in fields.items()}
    return result


_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_SIZE = r"([\d.]+)([KMGT]?)i?B?"
_VMEM = re.compile(
    rf"memory space vmem.*? for %([\w.\-]+).*?Scoped allocation with size {_SIZE} and limit {_SIZE}", re.DOTALL
)
_HBM = re.compile(rf"memory on HBM, (.*?) \({_SIZE}\) exceeds available HBM \({_SIZE}\)", re.DOTALL)


def _refusal(text: str) -> dict:
    """Why the compiler refused, in one line, and by how many bytes a memory is too small."""
    if found := _VMEM.search(text):
        why = f"VMEM: {found[1]} needs {found[2]}{found[3]}, a kernel has {found[4]}{found[5]}; smaller blocks, or a "
        why += "higher CompilerParams.vmem_limit_bytes"
    elif found := _HBM.search(text):
        why = f"HBM: {found[1]} {found[2]}{found[3]}, available {found[4]}{found[5]}"
    else:
        lines = [" ".join(line.split()) for line in text.splitlines() if line.strip()]
        return {"error": (lines or ["no message"])[0][:400], "missing": 0}
    need, have = (float(found[i]) * _UNITS[found[i + 1]] for i in (2, 4))
    return {"error": why, "missing": round(need - have)}


if __name__ == "__main__":
    main(sys.argv[1])
