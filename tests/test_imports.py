"""Who may import whom, read from the syntax tree; and what importing costs."""

import ast
import pathlib
import re
import subprocess
import sys
from collections import Counter

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
PACKAGES = ("pallas_kernels", "research", "experiments", "paper_figures")
FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
#: What a benchmark compares with; only a module called `peers` may import them.
PEERS = {"mpax", "river", "sklearn", "threadpoolctl"}
#: Optional or slow: allowed in experiments and paper_figures only.
HEAVY = PEERS | {"matplotlib", "orbax", "ml_collections", "absl", "rich", "tensorstore"}
#: Links between families: the one module that may import another family's research.
LINKS = {"experiments.halpern.matching_lp": "matching"}
#: What a script may import when it is loaded, so that --help answers at once.
LIGHT_MODULES = {"experiments.lib.app"}


def module_name(path: pathlib.Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: pathlib.Path, *, top_level_only: bool = False) -> set[str]:
    """Full names of the modules that a file imports; `from a import b` gives `a.b` where that is a module of ours."""
    tree = ast.parse(path.read_text())
    found = set()
    for node in tree.body if top_level_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                ours = (ROOT / full.replace(".", "/")).with_suffix(".py").exists() or (
                    ROOT / full.replace(".", "/")
                ).is_dir()
                found.add(full if ours else node.module)
    return found


def floor(name: str) -> tuple[str, str | None]:
    """Package and family of one of our modules; the family is None for shared code."""
    parts = name.split(".")
    shared = {"core", "lib", "data"}
    family = parts[1] if len(parts) > 1 and (ROOT / parts[0] / parts[1]).is_dir() and parts[1] not in shared else None
    return parts[0], family


def allowed(importer: str, imported: str) -> bool:
    (package, family), (target, target_family) = floor(importer), floor(imported)
    if target not in PACKAGES:
        is_peer = importer.rsplit(".", 1)[-1] == "peers" and target in PEERS
        return target not in HEAVY or package in ("experiments", "paper_figures") or is_peer
    if target == "configs":
        return False
    if PACKAGES.index(target) > PACKAGES.index(package):
        return False
    if package == "pallas_kernels":
        return target == "pallas_kernels"
    if package == "paper_figures" and target == "research":
        return False
    if package == "paper_figures" and target == "experiments" and target_family:
        return target_family == family and imported.split(".")[2].startswith("panels")
    # Shared floors know no family; a family knows only itself.
    if target == "research" and target_family and LINKS.get(importer) == target_family:
        return True
    if target_family and target in ("research", "experiments"):
        return family == target_family or importer in ("experiments.bench", "experiments.doctor")
    return True


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_downwards(path):
    importer = module_name(path)
    bad = sorted(name for name in imports(path) if not allowed(importer, name))
    assert not bad, f"{importer} may not import {', '.join(bad)}"


def test_the_rule_itself_forbids_what_it_should():
    assert allowed("research.regret.ridge", "pallas_kernels.prequential_ridge")
    assert allowed("research.regret.ridge", "research.core.prng")
    assert allowed("paper_figures.regret.fig_medical", "experiments.regret.panels")
    assert allowed("experiments.halpern.matching_lp", "research.matching.problems")
    assert not allowed("experiments.halpern.lp", "research.matching.problems")
    assert not allowed("pallas_kernels.prequential_ridge.api", "research.core.prng")
    assert not allowed("research.regret.ridge", "experiments.lib.app")
    assert not allowed("research.core.prng", "research.regret.ridge")
    assert not allowed("research.regret.ridge", "matplotlib.pyplot")
    assert not allowed("experiments.lib.rundir", "experiments.regret.medical")
    assert not allowed("paper_figures.regret.fig_medical", "experiments.regret.medical")
    assert not allowed("paper_figures.regret.fig_medical", "research.regret.ridge")


SCRIPTS = sorted(
    path
    for path in (ROOT / "experiments").glob("*/*.py")
    if path.parent.name not in ("lib", "data") and "app.run(" in path.read_text()
)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda p: p.stem)
def test_a_script_imports_only_the_app_when_loaded(path):
    assert imports(path, top_level_only=True) <= LIGHT_MODULES


@pytest.mark.parametrize("path", sorted((ROOT / "configs").rglob("*.py")), ids=lambda p: str(p.relative_to(ROOT)))
def test_a_config_is_data(path):
    if path.parent.name == "env":
        pytest.skip("a tool, not a config")
    assert imports(path) <= {"ml_collections", "ml_collections.config_dict"}


def test_files_of_tests_have_names_of_their_own():
    """pytest imports them by name alone: of two with one name, the second is not run."""
    names = Counter(path.name for path in (ROOT / "tests").rglob("test_*.py"))
    assert not [name for name, times in names.items() if times > 1]


PROBE = """
import sys, time
start = time.process_time()  # CPU seconds: a busy machine must not fail this
import research
from research.core import discover, loops, prng, sharding, stats, status, types, validate
seconds = time.process_time() - start
assert seconds < 2, f"import research took {seconds:.1f} s"
from jax._src import xla_bridge
assert not xla_bridge._backends, "importing research initialised a device"
for name in ("matplotlib", "absl.flags", "orbax", "ml_collections", "scipy.stats"):
    assert name not in sys.modules, f"import research imported {name}"
"""


def test_importing_research_is_quick_and_does_nothing():
    subprocess.run([sys.executable, "-c", PROBE], check=True, cwd=ROOT, timeout=120)


def test_every_citation_is_in_the_references():
    known = set(re.findall(r"^@\w+\{([^,]+),", (ROOT / "research/references.bib").read_text(), re.MULTILINE))
    cited = {}
    for path in FILES:
        for key in re.findall(r"`([a-z][a-z-]+:\d\d)`", path.read_text()):
            cited.setdefault(key, path)
    missing = {key: str(path.relative_to(ROOT)) for key, path in cited.items() if key not in known}
    assert not missing
    assert known <= set(cited), f"references nobody cites: {sorted(known - set(cited))}"
