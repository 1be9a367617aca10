"""`paper_figures.prepared`: a run that is split off ends as a process of its own would, and takes no other with it."""

import os
import signal
import sys
import threading
import time

import pytest

from paper_figures import prepared


@pytest.fixture(scope="module")
def execute():
    processes = prepared.Processes()
    yield lambda *words: processes.execute([sys.executable, "-m", *words])
    processes.close()
    assert [process.returncode for process in processes._all] == [0]  # one served every test, whatever happened to runs


def python(code):
    """Words that execute the code, by a module of Python's own."""
    return "timeit", "-n", "1", "-r", "1", code


def test_exit_code_and_both_streams_are_told(execute):
    code, output = execute(
        *python("import os, sys; print('out', flush=True); print('err', file=sys.stderr); os._exit(3)")
    )
    assert (code, output) == (3, "out\nerr\n")
    assert execute("json.tool", "--nope")[0] == 2


def test_a_run_is_a_main_module_with_arguments_of_its_own(execute):
    code, output = execute("json.tool", os.devnull)
    assert code == 1
    assert "Expecting value" in output
    assert execute("no_such_module")[0] == 1


def test_a_crash_ends_that_run_alone(execute):
    assert execute(*python("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")) == (-signal.SIGKILL, "")
    assert execute(*python("import os; os._exit(5)"))[0] == 5


def test_nothing_of_one_run_is_seen_by_the_next(execute):
    execute(*python("import jax, os; jax.config.update('jax_enable_x64', True); os.environ['SEEN'] = '1'"))
    code, output = execute(*python("import jax, os; print(jax.config.jax_enable_x64, 'SEEN' in os.environ)"))
    assert (code, output.splitlines()[0]) == (0, "False False")


def test_it_has_imported_jax_and_started_neither_threads_nor_devices(execute):
    """Otherwise it could not be split, and would start a process for each run."""
    code = "import os, sys; print('jax' in sys.modules, len(os.listdir('/proc/self/task')))"
    if not os.path.isdir("/proc/self/task"):
        pytest.skip("only Linux tells")
    assert execute(*python(code))[1].splitlines()[0] == "True 1"


def test_a_run_is_told_to_end_and_ends_in_its_own_way(tmp_path):
    began, told = tmp_path / "began", tmp_path / "told"
    code = (
        "import os, pathlib, signal, time\n"
        f"def end(*_): pathlib.Path({str(told)!r}).touch(); os._exit(143)\n"
        "signal.signal(signal.SIGTERM, end)\n"
        f"pathlib.Path({str(began)!r}).touch()\n"
        "time.sleep(60)"
    )
    processes, found = prepared.Processes(), []
    line = [sys.executable, "-m", *python(code)]
    thread = threading.Thread(target=lambda: found.append(processes.execute(line)))
    thread.start()
    while not began.exists() and thread.is_alive():
        time.sleep(0.05)
    processes.terminate()
    thread.join(60)
    processes.close()
    assert told.exists()
    assert found == [(143, "")]


def test_a_process_that_cannot_be_split_starts_another(monkeypatch, tmp_path):
    monkeypatch.setattr(prepared, "_may_split", lambda: False)
    with open(tmp_path / "said", "w+b") as said:
        assert prepared._Server(None)._done(["json.tool", "--nope"], said) == 2
        said.seek(0)
        assert b"usage" in said.read()
