"""A disk that is full or cannot be written: one line, a non-zero exit code, and what was there stays."""

import os
import shutil
import subprocess

import pytest

from experiments.lib import files, journal, rundir

CONFIG = "tests/experiments/toy/configs/walk.py"


def one_error_line(ended):
    assert ended.code == 1
    assert ended.out == ""
    assert ended.err.startswith("error: ")
    assert ended.err.count("\n") == 1
    return ended.err


def test_the_root_is_a_file(launch, root):
    root.write_text("precious")
    assert "Not a directory" in one_error_line(launch())
    assert root.read_text() == "precious"


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is read-only for root")
def test_the_root_is_read_only(launch, root):
    root.mkdir(mode=0o555)
    assert "Permission denied" in one_error_line(launch())


def _full(*_, **__):
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("place", [(files.os, "fsync"), (files.os, "replace")])
def test_a_disk_that_is_full_from_the_start(launch, root, monkeypatch, place):
    monkeypatch.setattr(*place, _full)
    assert "No space left on device" in one_error_line(launch())
    assert [path.name for path in root.rglob("*") if path.is_file()] == [".lock"]


def test_overwriting_on_a_full_disk_loses_nothing(launch, monkeypatch):
    path = launch("--config.run.num_steps=4").path
    before = {p: p.read_bytes() for p in path.rglob("*") if p.is_file() and p.name != ".lock"}
    with monkeypatch.context() as full:
        full.setattr(files.os, "fsync", _full)
        one_error_line(launch("--config.run.num_steps=4", "--overwrite"))
    assert {p: p.read_bytes() for p in path.rglob("*") if p.is_file() and p.name != ".lock"} == before
    assert rundir.load(path).finished


def test_a_disk_that_fills_up_on_the_way(launch, root, monkeypatch):
    expected = launch("--config.run.num_steps=24", f"--root={root}-sound")
    append = journal.Journal.append

    def until_full(self, row):
        if row.step > 12:
            _full()
        append(self, row)

    with monkeypatch.context() as full:
        full.setattr(journal.Journal, "append", until_full)
        one_error_line(launch("--config.run.num_steps=24", "--checkpoint_steps=8"))
    (path,) = root.glob("toy/walk/*")
    assert rundir.load(path).meta["status"] == "failed"
    ended = launch("--config.run.num_steps=24", "--checkpoint_steps=8")
    assert ended.code == 0
    assert f"resumes {path} at step 8" in ended.err
    for name in ("metrics.jsonl", "curves.npz", "results.npz"):
        assert (path / name).read_bytes() == (expected.path / name).read_bytes()


def test_a_limit_of_the_operating_system(start, root):
    """No file may grow beyond 64 blocks of 512 bytes: a real failed write, in a process of its own."""
    process = start(
        "--config.run.replicates=4096", "--compile_cache=off", within=("sh", "-c", 'ulimit -f 64; exec "$@"', "sh")
    )
    _, err = process.communicate(timeout=120)
    assert process.returncode == 1
    errors = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert "File too large" in errors[0]
    assert "Traceback" not in err
    assert not list(root.rglob("DONE"))


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("mount") is None, reason="mounting a small disk needs root")
def test_a_small_disk(start, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("mounting is not permitted here")
    try:
        process = start(f"--root={disk}", "--config.run.replicates=4096", "--checkpoint_minutes=0")
        _, err = process.communicate(timeout=120)
        assert process.returncode == 1
        assert err.startswith("error: ")
        assert err.count("\n") == 1
        assert "No space left on device" in err
        assert not list(disk.rglob("DONE"))
    finally:
        subprocess.run(["umount", disk], check=True)
