"""`paper_figures.make`: what is run, drawn, compared and said."""

import errno
import json
import os
import subprocess
import sys
import time

import pytest

from experiments.data import fetch
from experiments.lib import config as config_lib
from experiments.lib import files
from experiments.lib.provenance import Revision
from paper_figures import catalog, claims, make, runner

#: A figure that needs no run.
STORED = """
from experiments.lib import style

CONFIGS = []
PAPER_CONFIGS = []
SOURCES = ["numbers.json"]
caption = "Stored numbers."

def draw(runs):
    assert runs == []
    fig, ax = style.figure()
    ax.plot([1, 2])
    return fig
"""


def run_make(toy, *arguments):
    return make.main([*arguments, f"--root={toy.root}", f"--out={toy.out}", "--jobs=1"])


def test_missing_runs_are_done_once_and_everything_is_drawn(toy, processes, capsys):
    assert run_make(toy, "--recompute", "--check") == 0
    assert len(processes) == 2  # the figure needs two, the table shares one of them
    assert all("experiments.toy.walk" in line for line in processes)
    assert sorted(p.name for p in (toy.out / "toy").iterdir()) == [
        "fig_walk.json", "fig_walk.pdf", "fig_walk.png",
        "tab_heights.csv", "tab_heights.json", "tab_heights.md", "tab_heights.tex",
    ]  # fmt: skip
    out = capsys.readouterr().out
    assert "height after the last step" in out
    assert "1 agrees, 0 differs" in out
    assert str(toy.out) in out


def test_the_json_holds_every_number_the_runs_and_the_verdicts(toy, processes):
    run_make(toy, "--recompute")
    figure = json.loads((toy.out / "toy" / "fig_walk.json").read_text())
    references = [f"{toy.path}/configs/walk.py{argument}" for argument in ("", ":steep")]
    assert figure["runs"] == [config_lib.resolve(reference).directory.as_posix() for reference in references]
    assert figure["revisions"] == ["f" * 40]
    assert [line["y"] for line in figure["numbers"][0]["lines"]] == [[1.0, 2.0, 3.0, 4.0], [2.0, 4.0, 6.0, 8.0]]
    (claim,) = figure["claims"]
    assert (claim["verdict"], claim["ours"]["value"], claim["ours"]["n"]) == ("agrees", 4.0, 3)
    table = json.loads((toy.out / "toy" / "tab_heights.json").read_text())
    assert table["numbers"][0]["height"]["value"] == 8.0


def test_a_second_time_nothing_is_run_and_the_files_are_the_same(toy, processes):
    run_make(toy, "--recompute")
    before = {path: path.read_bytes() for path in (toy.out / "toy").iterdir()}
    processes.clear()
    run_make(toy, "--recompute")
    assert processes == []
    assert {path: path.read_bytes() for path in (toy.out / "toy").iterdir()} == before


def test_a_figure_can_be_drawn_from_files_of_the_checkout_alone(toy, processes, capsys, monkeypatch):
    monkeypatch.setattr(make, "CHECKOUT", toy.path)
    toy.add("fig_stored", STORED)
    assert run_make(toy, "--only=toy/fig_stored", "--recompute") == 0
    assert "skipped toy/fig_stored: files are missing: numbers.json." in capsys.readouterr().out
    (toy.path / "numbers.json").write_text("[1, 2]")
    assert run_make(toy, "--only=toy/fig_stored", "--recompute") == 0
    assert processes == []
    record = json.loads((toy.out / "toy" / "fig_stored.json").read_text())
    assert (record["runs"], record["sources"]) == ([], ["numbers.json"])
    assert b"numbers.json" in (toy.out / "toy" / "fig_stored.png").read_bytes()
    run_make(toy, "--list")
    assert "none" in capsys.readouterr().out


def test_without_recompute_missing_runs_are_named_and_nothing_is_run(toy, processes, capsys):
    assert run_make(toy, "--check") == 0
    assert processes == []
    assert "walk.py:steep; --recompute does them" in capsys.readouterr().out


def test_only_differs_fails_and_only_under_check(toy, processes, capsys):
    expected = toy.path / "figures" / "toy" / "expected" / "walk.json"
    expected.write_text(expected.read_text().replace("4.0", "5.0"))
    assert run_make(toy, "--recompute") == 0
    assert run_make(toy, "--check") == 1
    assert "1 differs" in capsys.readouterr().out
    assert run_make(toy, "--form=quick", "--recompute", "--check") == 0
    assert "1 not testable at this size" in capsys.readouterr().out


def test_forms_choose_their_configs(toy, processes):
    run_make(toy, "--form=quick", "--recompute")
    assert [line[3].rpartition("/")[2] for line in processes] == ["walk.py:quick", "walk.py:steep,quick"]
    processes.clear()
    run_make(toy, "--form=paper", "--recompute")
    assert [line[3].rpartition("/")[2] for line in processes] == ["walk.py"]


def test_a_failing_run_is_shown_and_the_others_go_on(toy, processes, capsys):
    toy.add("fig_plain", (toy.path / "figures" / "toy" / "fig_walk.py").read_text().replace("walk.py:steep", "walk.py"))
    processes.broken = {":steep"}
    assert run_make(toy, "--recompute") == 1
    out = capsys.readouterr().out
    assert "error: it broke" in out
    assert "skipped toy/fig_walk: runs are missing" in out
    # fig_plain needs only the run that succeeded; its claims are not expected anywhere, which is told.
    assert "toy/fig_plain could not be drawn" in out
    assert "fig_plain measures height" in out


def test_a_run_begun_by_another_revision_starts_again(toy, processes):
    folder = toy.root / config_lib.resolve(f"{toy.path}/configs/walk.py").directory
    folder.mkdir(parents=True)
    (folder / "meta.json").write_text(json.dumps({"git_revision": "0" * 40}))
    run_make(toy, "--recompute", "--only=toy/fig_walk")
    assert [line[-1] == "--overwrite" for line in processes] == [True, False]


def test_a_figure_that_cannot_be_imported_or_drawn_does_not_stop_the_others(toy, processes, capsys):
    toy.add("fig_syntax", "CONFIGS = [")
    toy.add("fig_names", "CONFIGS = []")
    toy.add("fig_draw", (toy.path / "figures" / "toy" / "fig_walk.py").read_text().replace("height", "depth"))
    assert run_make(toy, "--recompute") == 1
    out = capsys.readouterr().out
    assert "toy/fig_syntax: SyntaxError" in out
    assert "toy/fig_names lacks PAPER_CONFIGS, caption, draw" in out
    assert "toy/fig_draw could not be drawn" in out
    assert "KeyError: 'depth'" in out
    assert (toy.out / "toy" / "fig_walk.pdf").exists()


def test_a_full_disk_is_one_line_and_leaves_the_old_files(toy, processes, monkeypatch, capsys):
    run_make(toy, "--recompute", "--only=toy/tab_heights")
    before = {path: path.read_bytes() for path in (toy.out / "toy").iterdir()}

    def full(path, content):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files, "replace", full)
    assert run_make(toy, "--only=toy/tab_heights") == 1
    message = f"error: toy/tab_heights: cannot write under {toy.out}: No space left on device.\n"
    assert capsys.readouterr().err == message
    assert {path: path.read_bytes() for path in (toy.out / "toy").iterdir()} == before


def test_large_data_that_is_not_here_skips_its_figures_with_one_line(toy, processes, monkeypatch, capsys):
    monkeypatch.setattr(fetch, "cached", lambda name: False)
    toy.set_data("adult")
    assert run_make(toy, "--recompute", "--check") == 0
    assert processes == []
    out = capsys.readouterr().out
    assert out.count("skipped toy/fig_walk: needs the data set adult (28.2 MB, not here; make figures DATA=all") == 2


def test_large_data_is_fetched_when_asked_for_and_small_data_always(toy, processes, monkeypatch):
    fetched = []
    monkeypatch.setattr(fetch, "cached", lambda name: name in fetched)
    monkeypatch.setattr(fetch, "read", lambda source: fetched.append(source.name))
    toy.set_data("adult,insurance")
    run_make(toy, "--recompute", "--data=all", "--only=toy/tab_heights")
    assert fetched == ["adult", "insurance"]
    assert len(processes) == 1
    fetched.clear()
    toy.set_data("insurance")
    run_make(toy, "--recompute", "--only=toy/tab_heights")
    assert fetched == ["insurance"]


def test_data_that_only_users_can_bring_skips_its_figures_whatever_is_asked_for(toy, processes, monkeypatch, capsys):
    monkeypatch.delenv("EQUIPOISE_ADULT_RECONSTRUCTION", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(toy.path))
    toy.set_data("adult_reconstruction")
    assert run_make(toy, "--recompute", "--check", "--data=all") == 0
    assert "needs the data set adult_reconstruction (not here; its terms" in capsys.readouterr().out
    monkeypatch.setenv("EQUIPOISE_ADULT_RECONSTRUCTION", __file__)
    run_make(toy, "--recompute", "--only=toy/tab_heights")
    assert len(processes) == 1


def test_data_that_cannot_be_had_fails_its_figures_only(toy, processes, monkeypatch, capsys):
    def refuse(source):
        raise fetch.DataError("insurance: no network.")

    monkeypatch.setattr(fetch, "cached", lambda name: False)
    monkeypatch.setattr(fetch, "read", refuse)
    toy.set_data("insurance")
    assert run_make(toy, "--recompute") == 1
    out = capsys.readouterr().out
    assert "failed  insurance: no network." in out
    assert "skipped toy/fig_walk: needs the data set insurance" in out


def test_finished_runs_need_no_data(toy, processes, monkeypatch):
    toy.set_data("adult")
    monkeypatch.setattr(fetch, "cached", lambda name: True)
    run_make(toy, "--recompute", "--only=toy/tab_heights")
    (toy.out / "toy" / "tab_heights.md").unlink()
    monkeypatch.setattr(fetch, "cached", lambda name: False)
    assert run_make(toy, "--recompute", "--check", "--only=toy/tab_heights") == 0
    assert (toy.out / "toy" / "tab_heights.md").exists()


def test_list_draws_nothing(toy, processes, capsys):
    assert run_make(toy, "--list") == 0
    out = capsys.readouterr().out
    assert "toy/fig_walk" in out
    assert "0/2" in out
    assert "A walk." in out
    assert not toy.out.exists()


def test_a_name_that_no_figure_has_is_one_line_with_the_nearest(toy, capsys):
    assert run_make(toy, "--only=toy/fig_wlak") == 2
    assert capsys.readouterr().err == "error: no figure toy/fig_wlak; nearest: toy/fig_walk.\n"


def test_a_family_stands_for_its_figures(toy):
    known = catalog.entries()
    assert [entry.name for entry in catalog.selected(known, ["toy"])] == ["toy/fig_walk", "toy/tab_heights"]
    assert catalog.selected(known, []) == known


def test_at_most_the_given_number_of_runs_at_a_time(toy):
    module = known_module(toy)
    runs = catalog.needed(module, "default", toy.root) + catalog.needed(module, "quick", toy.root)
    at_work, most = set(), 0

    def execute(line):
        nonlocal most
        at_work.add(tuple(line))
        most = max(most, len(at_work))
        time.sleep(0.05)
        at_work.discard(tuple(line))
        return 0, ""

    outcomes = list(runner.run_all([*runs, *runs], toy.root, jobs=2, execute=execute))
    assert len(outcomes) == 4
    assert most == 2


def known_module(toy):
    (figure, _) = catalog.entries()
    return figure.load()


def test_stopping_ends_the_processes_that_were_started(toy, monkeypatch):
    runs = catalog.needed(known_module(toy), "default", toy.root)
    started, popen = [], subprocess.Popen

    def sleeper(line, **options):
        started.append(popen([sys.executable, "-c", "import time; time.sleep(60)"], **options))
        return started[-1]

    monkeypatch.setattr(runner.provenance, "revision", lambda: Revision("f" * 40, False, ""))  # starts git
    monkeypatch.setattr(subprocess, "Popen", sleeper)
    monkeypatch.setattr(runner, "wait", interrupted_once(lambda: len(started) == 2))
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        list(runner.run_all(runs, toy.root, jobs=2))
    assert time.monotonic() - began < 30
    assert [process.poll() is not None for process in started] == [True, True]


def interrupted_once(ready):
    def wait(*_, **__):
        while not ready():
            time.sleep(0.01)
        raise KeyboardInterrupt

    return wait


def test_importing_make_imports_neither_jax_nor_matplotlib():
    code = "import sys, paper_figures.make; print([m for m in ('jax', 'matplotlib') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("entry", catalog.entries(), ids=lambda entry: entry.name)
def test_every_figure_of_the_project_can_be_read_and_has_its_configs(entry):
    module = entry.load()
    assert module.caption
    sources = catalog.sources(module)
    assert sources or all(catalog.needed(module, form, catalog.FOLDER) for form in claims.FORMS)
    claims.read(entry.expected)


def test_every_file_of_published_numbers_belongs_to_a_figure_that_compares_them():
    compared = {entry.expected for entry in catalog.entries() if hasattr(entry.load(), "claims")}
    assert set(catalog.FOLDER.glob("*/expected/*.json")) <= compared
