"""Builds the wheel and imports it outside the checkout, from its own files and with its own data (`make wheel`)."""

import os
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[1]
PROBE = """
import pathlib, sys, zipfile
import experiments, paper_figures, pallas_kernels, research
from research.core import discover, prng
for package in (research, pallas_kernels, experiments, paper_figures):
    home = pathlib.Path(package.__file__).resolve()
    assert home.is_relative_to(sys.argv[1]), f"{package.__name__} was imported from {home}, not from the wheel"
assert "matplotlib" not in sys.modules, "importing the packages imported matplotlib"
found = [module.__name__ for module in discover.algorithms()]
assert found, "no algorithm in the wheel"
assert (pathlib.Path(research.__file__).parent / "references.bib").exists(), "references.bib is not in the wheel"
expected = list(pathlib.Path(paper_figures.__file__).parent.glob("*/expected/*.json"))
assert expected, "the published numbers are not in the wheel"
print(f"wheel: research {research.__version__}, {len(found)} algorithms, {len(expected)} files of published numbers")
"""


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        dist, site = pathlib.Path(folder, "dist"), pathlib.Path(folder, "site").resolve()
        subprocess.run([sys.executable, "-m", "build", "--wheel", "--outdir", str(dist), str(ROOT)], check=True,
                       stdout=subprocess.DEVNULL)  # fmt: skip
        (wheel,) = dist.glob("equipoise-*.whl")
        install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(site), str(wheel)]
        subprocess.run(install, check=True)
        env = dict(os.environ, PYTHONPATH=str(site), JAX_PLATFORMS="cpu")
        subprocess.run([sys.executable, "-c", PROBE, str(site)], check=True, cwd=folder, env=env)


if __name__ == "__main__":
    main()
