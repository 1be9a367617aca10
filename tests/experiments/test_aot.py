"""The ahead-of-time command without a compiler: what it refuses, what it computes from reports, where it writes."""

import csv
import dataclasses
import importlib.util
import io
import json
import re
import subprocess
import sys

import pytest
from rich.console import Console

from experiments import aot
from experiments.lib import aot_jobs, aot_output, aot_sweep, aot_table, aot_text
from experiments.lib.config import CHECKOUT
from experiments.lib.errors import RunError, UsageError
from pallas_kernels import _discover
from pallas_kernels._lab import gpu
from pallas_kernels._lab.gpu_kernels import GpuKernel
from pallas_kernels._lab.report import Collective, Memory, Operation, Report, Roofline

POD = "--config=configs/regret/medical_pod.py"
MEMORY = Memory(arguments=2 << 30, outputs=1 << 30, aliased=1 << 30, temporaries=0, code=512, available=16 << 30)
REPORT = Report(
    target="v5e:2x2",
    devices=4,
    compiler="libtpu 1.2",
    program="abc",
    why_not=None,
    memory=MEMORY,
    missing=0,
    operations=(
        Operation("step.1", "kernel", 10, 300.0, True, vmem=4096, bundles=77, spills=1, fills=2,
                  occupancy={"VALU": 0.5, "MXU": 0.25, "EUP": 0.1, "XLU": 0.2}),
        Operation("fusion", "fusion", 1, 1000.0),
    ),
    collectives=(Collective("all-reduce.1", "all-reduce", 10, 1024, 4, "Ring"),),
    flops=8e6,
    passes=4e6,
    bytes=1e6,
    roofline=Roofline(hbm=1e-6, mxu=2e-6, link=0.0),
    cycles=4000.0,
    clock=1e9,
    method="simulated in HBM",
    caveats=("something is unsure",),
    lower_seconds=0.5,
    compile_seconds=1.5,
    host_bytes=600_000_000,
)  # fmt: skip
ASKED = {"config": "toy.py", "replicates": 8, "impl": "kernels", "chunk": 4, "steps": 64}


@pytest.fixture
def said(capsys):
    """Runs the command; returns (exit code, stdout, stderr)."""

    def run(*arguments):
        capsys.readouterr()
        code = aot.main(list(arguments))
        return code, *capsys.readouterr()

    return run


def printed(renderable) -> str:
    console = Console(width=160, file=io.StringIO())
    console.print(renderable)
    return console.file.getvalue()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give --config=configs/... (a program), --kernel=... (a kernel alone) or --all (pod"),
        ([POD, "--kernel=prequential_ridge"], "give --config=configs/... (a program), --kernel="),
        (["--config=configs/regret/medical_pd.py"], "no config configs/regret/medical_pd.py; nearest: configs/"),
        ([POD, "--config.run.replicate=8"], "no field config.run.replicate; nearest: config.run.replicates."),
        ([POD, "--roto=1"], "Unknown command line flag 'roto'"),
        ([POD, "--jobs=0"], "flag --jobs=0"),
        ([POD, "stray"], "unexpected argument 'stray'"),
        ([POD, "--topology=v7:2x2"], "--topology=v7:2x2: no such chip; there are v4, v5e, v5p, v6e, tpu7x ("),
        ([POD, "--topology=v5e:3x3"], "--topology=v5e:3x3: target 'v5e:3x3' is not a slice of v5e; there are v5e"),
        ([POD, "--topology=v5e-256"], "--topology=v5e-256: no such chip; "),
        ([POD, "--topology=v5e", "--slices=4"], "--topology=v5e: slices must be >= 1, and 1 for a single device, got"),
        ([POD, "--topology=v5e:2x2,v6e:2x2", "--slices=1,2,3"], "--slices must be one number, or one for each"),
        ([POD, "--topology=h100:8x8"], "--topology=h100:8x8: GPUs are h100 or, eight of them, h100:8;"),
        ([POD, "--mesh=rep:8"], "--mesh=rep:8 does not divide the 256 devices of v5e:16x16 without rest."),
        ([POD, "--mesh=rep:-1,data:3"], "--mesh=rep:-1,data:3 does not divide the 256 devices"),
        ([POD, "--mesh=reps:8"], "--mesh axes are rep, data, model, got 'reps'"),
        (
            [POD, "--topology=v5p:16x20x28"],
            "configs/regret/medical_pod.py has 4096 replicates, and 8960 devices of v5p:16x20x28 on the axis rep do "
            "not divide them; --config.run.replicates=8960 would do for every topology asked for.",
        ),
        ([POD, "--topology=v5e:16x16,v5p:16x20x28"], "configs/regret/medical_pod.py has 4096 replicates, and 8960"),
        (["--config=tests/experiments/toy/configs/walk.py"], "tests/experiments/toy/configs/walk.py is of the"),
        (["--kernel=prequentialridge"], "no kernel prequentialridge; nearest: prequential_ridge."),
        (["--kernel=prequential_ridge", "--case=zzz"], "prequential_ridge has no case zzz; there are d25"),
        ([POD, "--case=d25"], "--case is one of a kernel's cases; it goes with --kernel alone."),
        (["--kernel=zzz"], f"no kernel zzz; there are {', '.join(_discover.kernels())}"),
        (["--kernel=prequential_ridge", "--topology=v5e:2x2"], "a kernel is costed on one device: --topology=v5e, got"),
        (["--kernel=prequential_ridge", "--config.seed=1"], "--config.seed needs --config."),
        ([POD, "--sweep_blocks"], "--sweep_blocks needs --kernel"),
        ([POD, "--write"], "--write writes what --sweep_blocks or --all finds"),
        ([POD, "--json=-", "--csv=-"], "only one of --json and --csv can go to stdout."),
        ([POD, "--compare=cuda"], "flag --compare=cuda"),
    ],
)  # fmt: skip
def test_a_wrong_command_is_one_line_and_exit_code_2(said, arguments, message):
    code, out, err = said(*arguments)
    assert err.startswith(f"error: {message}")
    assert (code, out, err.count("\n")) == (2, "", 1)


def test_a_missing_compiler_is_one_line_that_names_the_extra(said, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "libtpu" else find(name))
    code, out, err = said(POD)
    assert (code, out) == (1, "")
    assert err.startswith("error: the TPU compiler (libtpu) is not installed: pip install -e '.[tpu]'")
    assert err.count("\n") == 1


def test_a_missing_gpu_compiler_is_one_line(said, monkeypatch):
    monkeypatch.setattr(gpu, "available", lambda: "No GPU compiler: none.")
    assert said(POD, "--topology=h100") == (1, "", "error: No GPU compiler: none.\n")


@pytest.mark.parametrize("arguments", [["--help"], [], ["--config=configs/regret/medical_pd.py"]])
def test_answers_without_jax(arguments):
    script = (
        "import sys, runpy\n"
        "sys.argv = ['aot', *sys.argv[1:]]\n"
        "try: runpy.run_module('experiments.aot', run_name='__main__')\n"
        "except SystemExit as end: code = end.code\n"
        "heavy = {'jax', 'numpy', 'rich', 'pallas_kernels'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], cwd=CHECKOUT, text=True, capture_output=True, timeout=60
    )
    assert done.returncode == (0 if arguments == ["--help"] else 2), done.stderr
    assert ("--topology" in done.stdout) == (arguments == ["--help"])


def test_whatever_stops_a_job_is_one_line():
    job = aot_jobs.ProgramJob("configs/regret/medical_pod.py", {"algo.methods": "('nobody',)"}, ("v5e", 1), {"rep": 1})
    answer = aot_jobs.perform(job)
    assert answer.report is None
    assert answer.problem.startswith("config.algo.methods must be one of")
    assert "\n" not in answer.problem
    assert str(job) == "configs/regret/medical_pod.py on v5e"


def test_a_chunk_s_report_becomes_times_of_a_run():
    row = aot_table.program_row(ASKED, REPORT)
    assert row["chunk_seconds"] == pytest.approx(4e-6)
    assert row["run_seconds"] == pytest.approx(64e-6)
    assert row["roofline_seconds"] == 2e-6
    assert row["of_roofline"] == pytest.approx(0.5)
    assert row["flops_per_step"] == 2e6
    assert (row["collectives"], row["collective_bytes"]) == (10, 10240)
    assert row["total_bytes"] == (2 << 30) + 512


def test_without_a_simulation_there_is_no_time():
    row = aot_table.program_row(ASKED, REPORT._replace(cycles=None, method="none"))
    assert {row[name] for name in ("chunk_seconds", "run_seconds", "bound", "of_roofline")} == {None}
    assert "one chunk" not in printed(aot_table.details("title", ASKED, {"kernels": REPORT._replace(cycles=None)}))


def test_details_say_everything():
    text = printed(
        aot_table.details("title", ASKED, {"with kernels": REPORT, "XLA alone": REPORT._replace(cycles=8e3)})
    )
    for wanted in (
        "2.0 GiB of 16.0 GiB", "arguments 2.0 GiB", "1.0 GiB of them shared", "10.0 KiB a chip in 10 calls", "4 us",
        "2 us (matrix unit)", "64 us", "schedule; 50% of the roofline", "simulated in HBM",
        "VALU 50%, MXU 25%, XLU 20%",
        "all-reduce", "Ring", "75.0%", "not simulated", "- something is unsure",
        "0.5 s, 1.5 s", "0.60 GB, libtpu 1.2", aot_table.MODEL,
    ):  # fmt: skip
        assert wanted in text, wanted
    assert re.search(r"ratio of the times +2\.00", text)


def test_a_program_that_does_not_fit_says_by_how_much():
    short = REPORT._replace(why_not="HBM: 18 bytes", missing=3 << 20, memory=None, roofline=None, cycles=None)
    text = printed(aot_table.programs([aot_table.program_row(ASKED, short), aot_table.program_row(ASKED, REPORT)]))
    assert "no, 3.0 MiB short" in text
    assert "no, by 3.0 MiB: HBM: 18 bytes" in printed(aot_table.details("title", ASKED, {"kernels": short}))


def test_a_kernel_stands_beside_its_peer():
    entry = {"kernel": "k", "case": "wide"}
    rows = [
        aot_table.kernel_row(entry | {"impl": "kernel"}, 4.0, "row", REPORT),
        aot_table.kernel_row(entry | {"impl": "xla"}, 2.0, "row", REPORT),
    ]
    assert [row["cycles_each"] for row in rows] == [1000, 2000]
    assert (rows[0]["bundles"], rows[0]["spills"]) == (77, 1)
    text = printed(aot_table.kernels(rows))
    assert "Cycles per row." in text
    assert "2.00" in text
    assert "wide on v5e:2x2 by kernel: simulated in HBM" in text


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (3 << 20, "3.0 MiB"), (40 << 30, "40.0 GiB")]
)
def test_bytes_are_readable(value, text):
    assert aot_text.bytes_text(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, ""), (2e-9, "0.002 us"), (0.0041, "4.1 ms"), (90, "1.5 min"), (7200, "2 h"), (0.9996e-3, "1 ms")],
)
def test_times_are_readable(value, text):
    assert aot_text.seconds_text(value) == text


def test_files_hold_what_was_found(said, monkeypatch, tmp_path):
    def answered(jobs, processes):
        return [aot_jobs.Answer(job, REPORT, None) for job in jobs]

    monkeypatch.setattr(aot_jobs, "run", answered)
    monkeypatch.setattr(aot, "_check_compilers", lambda targets: None)
    arguments = (POD, "--topology=v5e:2x2,v6e:2x2", "--config.run.replicates=8")
    code, out, err = said(*arguments, f"--json={tmp_path}/a.json", f"--csv={tmp_path}/a.csv")
    assert (code, err) == (0, "")
    assert "regret/medical_pod.py" in out
    found = json.loads((tmp_path / "a.json").read_text())
    assert [one["asked"]["target"] for one in found] == [["v5e:2x2", 1], ["v6e:2x2", 1]]
    assert found[0]["report"]["collectives"][0]["kind"] == "all-reduce"
    header, *rows = (tmp_path / "a.csv").read_text().splitlines()
    assert len(rows) == 2
    assert {"replicates", "run_seconds", "host_bytes"} <= set(header.split(","))
    _, out, _ = said(*arguments, "--json=-")
    assert json.loads(out) == found
    code, _, err = said(*arguments, f"--csv={tmp_path}/no/such/a.csv")
    assert (code, err.count("\n")) == (1, 1)
    assert "a.csv cannot be written: " in err


def test_a_failed_job_does_not_hide_the_others(said, monkeypatch):
    def answered(jobs, processes):
        short = REPORT._replace(why_not="HBM: too much", missing=5 << 30)
        return [aot_jobs.Answer(jobs[0], short, None), aot_jobs.Answer(jobs[1], None, "it cannot be traced")]

    monkeypatch.setattr(aot_jobs, "run", answered)
    monkeypatch.setattr(aot, "_check_compilers", lambda targets: None)
    given = (POD, "--topology=v5e:2x2,v6e:2x2", "--config.run.replicates=8")
    rows = csv.DictReader(io.StringIO(said(*given, "--csv=-")[1]))
    assert [(row["fits"], row["why_not"]) for row in rows] == [
        ("False", "HBM: too much"),
        ("False", "it cannot be traced"),
    ]
    code, out, err = said(*given)
    assert code == 1
    assert "no, by 5.0 GiB" in out
    assert err.splitlines() == [
        "error: configs/regret/medical_pod.py on v5e:2x2: HBM: too much",
        "error: configs/regret/medical_pod.py on v6e:2x2: it cannot be traced",
    ]


def test_a_gpu_s_report_has_rows_of_its_own(said, monkeypatch):
    kernel = GpuKernel("fusion", 2, 96, 128, registers=40, spill_stores=8, spill_loads=4, stack=8, barriers=1,
                       shared_memory=4096, instructions=100, resident=8, occupancy=0.5, limit="registers")  # fmt: skip
    memory = gpu.GpuMemory(arguments=1 << 20, outputs=0, aliased=0, temporaries=0, available=80 << 30)
    report = gpu.GpuReport(
        *("advance", "h100", 1, "ptxas 1", None, memory), (kernel,), ("cublas",), ("no tiles",), 2.0, 10**9
    )
    monkeypatch.setattr(aot_jobs, "run", lambda jobs, n: [aot_jobs.Answer(jobs[0], report, None)])
    monkeypatch.setattr(aot, "_check_compilers", lambda targets: None)
    code, out, err = said(POD, "--topology=h100")
    assert (code, err) == (0, "")
    for wanted in ("medical_pod.py on h100", "1.0 MiB of 80.0 GiB", "fusion", "50%", "calls cublas", "- no tiles"):
        assert wanted in out
    (row,) = csv.DictReader(io.StringIO(said(POD, "--topology=h100", "--csv=-")[1]))
    assert (row["target"], row["spilt_bytes"], row["least_occupancy"]) == ("h100", "12", "0.5")


WIDTH = {"platform": "tpu", "dtype": "float32", "width": 128}


def points(**cycles):
    """rows -> cycles on two chips."""
    return [
        aot_sweep.Point(WIDTH, {"rows": int(rows[1:]), "programs": 1}, chip, value, "row")
        for rows, pair in cycles.items()
        for chip, value in zip(("v5e", "v6e"), pair, strict=True)
    ]


def test_the_best_sizes_are_best_for_all_chips_together():
    (choice,) = aot_sweep.choose(points(r8=(100.0, 10.0), r16=(40.0, 20.0), r32=(50.0, None), r64=(120.0, 9.0)))
    assert choice.sizes == {"rows": 16, "programs": 1}
    assert [sizes["rows"] for sizes, _ in choice.mean] == [16, 8, 64]
    assert choice.best == {"v5e": {"rows": 16, "programs": 1}, "v6e": {"rows": 64, "programs": 1}}
    entry = aot_sweep.entry(choice, "toy", "libtpu 1.2")
    assert entry["rows"] == 16
    assert entry["libtpu"] == "1.2"
    assert "28.3 at rows 16" in entry["note"]
    assert "v6e alone: rows 64" in entry["note"]
    assert {"how", "device", "date"} <= set(entry)


def test_sizes_that_fit_no_chip_are_no_choice():
    with pytest.raises(RunError, match="no block size of platform tpu, dtype float32, width 128"):
        aot_sweep.choose(points(r8=(1.0, None)))


def test_a_bucket_is_replaced_and_others_stay():
    other = WIDTH | {"platform": "cpu", "rows": 1}
    table = {"buckets": [other, WIDTH | {"rows": 8}]}
    assert aot_sweep.merged(table, [WIDTH | {"rows": 16}])["buckets"] == [other, WIDTH | {"rows": 16}]
    wide = WIDTH | {"width": 256, "rows": 4}
    assert aot_sweep.merged(table, [wide])["buckets"][2] == wide
    assert len(table["buckets"]) == 2


@pytest.mark.parametrize("kernel", _discover.kernels())
def test_what_a_kernel_sweeps_can_be_put_into_its_table(kernel):
    cases = _discover.load(kernel, "cases")
    if not hasattr(cases, "sweep"):
        pytest.skip(f"{kernel} has no sweep()")
    listed = list(cases.sweep())
    assert len({case.name for _, _, case in listed}) == len(listed)
    for bucket, sizes, case in listed:
        assert set(bucket) == {"platform", "dtype", "width"}
        assert all(type(size) is int for size in dataclasses.asdict(sizes).values())
        assert case.units > 0


def test_a_kernel_without_a_sweep_is_one_line(monkeypatch):
    monkeypatch.setattr(_discover, "load", lambda kernel, part: object())
    with pytest.raises(UsageError, match=r"toy/cases.py has no sweep\(\)"):
        aot_sweep.sweep("toy", [("v5e", 1)], None)


def test_a_file_is_written_whole_or_not_at_all(tmp_path, capsys):
    aot_output.save("-", "text")
    assert capsys.readouterr().out == "text"
    with pytest.raises(RunError, match="cannot be written"):
        aot_output.save(str(tmp_path), "text")
