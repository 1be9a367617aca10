"""Writes `<platform>-py<XY>.txt` for the running interpreter: what pip resolves today, exactly (`make pins`)."""

import json
import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
#: The accelerator's extra decides the file; the rest is what any user may add. One file constrains them all.
EXTRAS = "figures,data,test,dev,bench"
PLATFORMS = {"cpu": "cpu,tpu", "gpu": "gpu", "tpu": "tpu"}


def resolve(platform: str) -> list[str]:
    """`name==version` lines, sorted, of everything that an install for the platform brings."""
    with tempfile.TemporaryDirectory() as folder:
        report = pathlib.Path(folder) / "report.json"
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed"]
        command += ["--report", str(report), f"{ROOT}[{PLATFORMS[platform]},{EXTRAS}]"]
        subprocess.run(command, check=True)
        found = [entry["metadata"] for entry in json.loads(report.read_text())["install"]]
    return sorted(f"{m['name']}=={m['version']}" for m in found if m["name"] != "equipoise")


def main() -> None:
    version = f"{sys.version_info.major}{sys.version_info.minor}"
    for platform in PLATFORMS:
        path = HERE / f"{platform}-py{version}.txt"
        path.write_text("\n".join(resolve(platform)) + "\n")
        print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
