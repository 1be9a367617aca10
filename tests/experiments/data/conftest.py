"""A cache of its own for every test, and the real data where it is cached or can be fetched."""

import subprocess
import zipfile

import numpy as np
import pytest

from experiments.data import adult, fetch, insurance, nyc, samples


def real(load):
    """What `load()` returns, or a skip that says why there is no real data here."""
    try:
        return load()
    except fetch.DataError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def medical():
    return real(insurance.load)


@pytest.fixture(scope="session")
def census():
    return real(adult.load)


@pytest.fixture(scope="session")
def trips():
    return real(nyc.load)


@pytest.fixture(scope="session")
def labelled():
    """Both sample data sets by name."""
    return {name: real(lambda name=name: samples.load(name)) for name in samples.SHAPES}


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache, and no folder of the user's."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("EQUIPOISE_DATA", raising=False)
    monkeypatch.delenv("EQUIPOISE_ADULT_RECONSTRUCTION", raising=False)
    return tmp_path / "cache" / "equipoise"


@pytest.fixture
def wheel(tmp_path):
    """Writes a wheel that holds the given files; pip accepts it."""

    def write(package, members):
        name, _, version = package.partition("==")
        folder = tmp_path / "wheels"
        folder.mkdir(exist_ok=True)
        info = f"{name}-{version}.dist-info"
        members = members | {
            f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
            f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        }
        path = folder / f"{name}-{version}-py3-none-any.whl"
        with zipfile.ZipFile(path, "w") as archive:
            for member, content in members.items():
                archive.writestr(member, content)
            archive.writestr(f"{info}/RECORD", "".join(f"{member},,\n" for member in [*members, f"{info}/RECORD"]))
        return path

    return write


@pytest.fixture
def offline_pip(monkeypatch, tmp_path):
    """The real pip without any index: it finds the wheels written by `wheel`, and nothing else."""
    for name, value in {
        "PIP_CONFIG_FILE": "/dev/null",
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(tmp_path / "wheels"),
        "PIP_NO_CACHE_DIR": "1",
    }.items():
        monkeypatch.setenv(name, value)
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_INDEX_URL", "PIP_CONSTRAINT", "PIP_REQUIRE_VIRTUALENV"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "wheels").mkdir()


@pytest.fixture
def fake_pip(monkeypatch):
    """Replaces pip by a function of the target folder; returns the commands it was called with."""

    def install(behaviour):
        commands = []

        def run(command, **_):
            commands.append(command)
            return behaviour(command[command.index("-d") + 1])

        monkeypatch.setattr(subprocess, "run", run)
        return commands

    return install


def csv_bytes(table):
    """The columns as a file."""
    rows = zip(*table.values(), strict=True)
    return "".join(",".join(row) + "\r\n" for row in [tuple(table), *rows]).encode()


def ridge_loss(features, labels):
    """Prequential squared loss of ridge regression with parameter 1."""
    inverse, weights, total = np.eye(features.shape[1]), np.zeros(features.shape[1]), 0.0
    for x, y in zip(features, labels, strict=True):
        gain = inverse @ x
        error = y - weights @ x
        inverse -= np.outer(gain, gain) / (1.0 + x @ gain)
        weights = weights + inverse @ x * error
        total += error**2
    return total


@pytest.fixture(scope="session")
def csv_of():
    return csv_bytes


@pytest.fixture(scope="session")
def online_ridge_loss():
    return ridge_loss
