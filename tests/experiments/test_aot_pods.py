"""`experiments.aot --all` without a compiler: which configs, on what mesh, what is told, and the page that keeps it."""

import csv
import io
import itertools
import json
import re

import pytest

from experiments import aot
from experiments.lib import aot_jobs, aot_page, aot_pods, pods
from experiments.lib import config as config_lib
from experiments.lib import mesh as mesh_lib
from experiments.lib.errors import UsageError
from pallas_kernels._lab.report import Collective, Memory, Operation, Report, Roofline

FAMILIES = {"balancing", "halpern", "matching", "mlmc", "pooling", "regret"}
REPORT = Report(
    target="v5e:16x16", devices=256, compiler="libtpu 1.2", program="abc", why_not=None,
    memory=Memory(arguments=2 << 30, outputs=0, aliased=0, temporaries=0, code=0, available=16 << 30), missing=0,
    operations=(Operation("fusion", "fusion", 96, 1.5e6),),
    collectives=(Collective("all-reduce.1", "all-reduce", 192, 1 << 20, 256),),
    flops=96e9, passes=0.0, bytes=1e6, roofline=Roofline(1e-6, 0.0, 0.0), cycles=None, clock=1.5e9, method="none",
    caveats=(), lower_seconds=0.5, compile_seconds=7.5, host_bytes=1,
)  # fmt: skip


@pytest.fixture
def said(capsys, monkeypatch):
    """Runs `--all` with made-up answers, `(job) -> Answer`; returns (exit code, stdout, stderr)."""

    def run(*arguments, answered=lambda job: aot_jobs.Answer(job, REPORT, None)):
        monkeypatch.setattr(aot_pods, "run", lambda jobs, processes: map(answered, jobs))
        monkeypatch.setattr(aot, "_check_compilers", lambda targets: None)
        capsys.readouterr()
        code = aot.main(["--all", *arguments])
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def page(tmp_path, monkeypatch):
    """A page of its own, empty."""
    monkeypatch.setattr(aot_page, "STORE", tmp_path / "pods.json")
    monkeypatch.setattr(aot_page, "PAGE", tmp_path / "README.md")
    (tmp_path / "README.md").write_text("Before.\n<!-- table: begin -->\nold\n<!-- table: end -->\nAfter.\n")
    monkeypatch.setattr(aot_pods.process, "compiler", lambda: "libtpu 1.2")
    return tmp_path


def test_every_family_has_pod_configs():
    assert {pod.name.partition("/")[0] for pod in pods.pods()} == FAMILIES


@pytest.mark.parametrize("pod", pods.pods(), ids=lambda pod: pod.name)
def test_its_mesh_and_what_grows_fit_every_target(pod):
    sizes = mesh_lib.parse(pod.mesh)
    for target in aot_pods.TARGETS:
        chips = aot_jobs.parse_target(*target).devices
        mesh = mesh_lib.abstract(sizes, chips, "them")
        config = config_lib.resolve(pod.reference, pod.on(chips)).config
        assert config.run.replicates % mesh.shape["rep"] == 0


def test_a_chip_has_as_much_to_do_on_any_number_of_chips():
    medical, lm = (pods.find(f"configs/{name}_pod.py") for name in ("regret/medical", "balancing/lm_schedules"))
    assert (medical.mesh, medical.on(256)) == ("rep:-1", {})
    assert [medical.on(chips)["run.replicates"] for chips in (1, 16, 512, 4096)] == [16, 256, 8192, 65536]
    assert medical.on(3) == {"run.replicates": 48}
    assert lm.on(512) == {"problem.stripes": 512, "run.batch_size": 512, "run.windows": 512}
    assert pods.find("configs/halpern/lanes_pod.py").on(512) == {}


def test_a_family_or_a_config_is_chosen_in_the_order_asked_for():
    known = pods.pods()
    names = [pod.name for pod in pods.selected(known, ["regret/medical", "configs/mlmc/work_pod.py", "regret"])]
    assert names[:3] == ["regret/medical", "mlmc/work", "regret/ablation"]
    assert len(names) == len(set(names))
    assert pods.selected(known, []) == known


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--only=regret/medcal"], "--only: no pod config regret/medcal; nearest: regret/medical."),
        (["--config=configs/regret/medical_pod.py"], "give --config=configs/... (a program), --kernel=..."),
        (["--config.seed=1"], "--config.seed needs --config."),
        (["--mesh=rep:8"], "--all goes without --mesh"),
        (["--compare=xla"], "--all goes without --mesh"),
        (["--slices=2"], "--slices needs --topology."),
        (["--topology=h100"], "--all is about slices of TPUs, got --topology=h100."),
        (["--limit_seconds=0"], "flag --limit_seconds=0"),
    ],
)
def test_a_wrong_command_is_one_line(said, arguments, message):
    code, out, err = said(*arguments)
    assert err.startswith(f"error: {message}")
    assert (code, out, err.count("\n")) == (2, "", 1)


def test_only_goes_with_all(capsys):
    assert aot.main(["--config=configs/regret/medical_pod.py", "--only=regret"]) == 2
    assert "--only chooses among the pod configs of --all." in capsys.readouterr().err


def test_a_config_s_own_mesh_is_taken_and_another_may_be_given(said, monkeypatch):
    asked = []
    monkeypatch.setattr(aot, "_answer", lambda jobs, values: asked.extend(jobs) or 0)
    monkeypatch.setattr(aot, "_check_compilers", lambda targets: None)
    config = "--config=configs/balancing/lm_schedules_pod.py"
    assert aot.main([config]) == 0
    assert aot.main([config, "--mesh=data:64,model:4", "--limit_seconds=7"]) == 0
    assert [job.mesh for job in asked] == [{"rep": 1, "data": -1, "model": 8}, {"rep": 1, "data": 64, "model": 4}]
    assert [(job.limit, job.simulate) for job in asked] == [(600.0, True), (7.0, True)]


def test_the_table_has_every_column(said):
    code, out, err = said("--only=regret/medical")
    assert code == 0
    assert err.splitlines()[0] == "1/3  regret/medical on v5e:16x16: 1.08 ms a step, compiled in 7.5 s"
    (first, *_) = [line for line in out.splitlines() if "regret/medical" in line]
    for column in aot_pods.HEADER:
        assert column in out
    # Each of 96 steps: 1.5 million cycles at 1.5 GHz, a gigaflop, and two sums of a MiB, 10 us and 32 hops each.
    wanted = ("v5e:16x16", "yes", "2.0 GiB", "1 G", "2", "2.0 MiB", "1.08 ms", "schedule", "7.5")
    assert re.split(r" {2,}", first.strip()) == ["regret/medical", *wanted]
    assert "3 of 3 compile and fit; the compiler took 22.5 s." in out
    assert "Times are a model" in out


@pytest.mark.parametrize(
    ("caveats", "shown"),
    [
        (("loop w: its number of rounds depends on data; counted once",), "> 1.08 ms"),
        (("conditional c: all branches are counted",), "< 1.08 ms"),
        (("loop w: data can end it before its 9 rounds; all are counted",), "< 1.08 ms"),
        (("loop w: its number of rounds depends on data; counted once", "conditional c: all branches are counted"),
         "~ 1.08 ms"),
    ],
)  # fmt: skip
def test_what_is_not_known_of_loops_stands_before_the_time(said, caveats, shown):
    report = REPORT._replace(caveats=caveats)
    out = said("--only=regret/medical", answered=lambda job: aot_jobs.Answer(job, report, None))[1]
    assert f"{shown} " in out


def test_a_simulated_time_has_a_star(said):
    report = REPORT._replace(cycles=96 * 1.5e6)
    out = said("--only=regret/medical", answered=lambda job: aot_jobs.Answer(job, report, None))[1]
    assert "1.08 ms*" in out


def test_one_that_fails_is_a_line_and_the_others_go_on(said):
    def answered(job):
        if job.target == ("v6e:16x16", 1):
            return aot_jobs.Answer(job, None, "the compiler did not finish within 600 s.")
        if job.target == ("v5e:16x16", 2):
            short = REPORT._replace(why_not="HBM: too much", missing=5 << 30, memory=None)
            return aot_jobs.Answer(job, short, None)
        return aot_jobs.Answer(job, REPORT, None)

    code, out, err = said("--only=regret/medical", answered=answered)
    assert code == 1
    assert err.splitlines()[1:] == [
        "2/3  regret/medical on v6e:16x16: no: the compiler did not finish within 600 s.",
        "3/3  regret/medical on 2 slices of v5e:16x16: no: HBM: too much, compiled in 7.5 s",
    ]
    assert "1 of 3 compile and fit, 2 do not" in out
    rows = list(csv.DictReader(io.StringIO(said("--only=regret/medical", "--csv=-", answered=answered)[1])))
    assert [(row["fits"], row["why_not"]) for row in rows] == [
        ("True", ""), ("False", "the compiler did not finish within 600 s."), ("False", "HBM: too much"),
    ]  # fmt: skip
    assert json.loads(said("--only=regret/medical", "--json=-", answered=answered)[1])[0]["collectives"] == 2


def test_the_page_keeps_rows_of_other_configs_and_says_what_fails(said, page):
    def failing(job):
        return aot_jobs.Answer(job, None, "HBM: too much")

    assert said("--only=regret/medical", "--write")[0] == 0
    assert said("--only=balancing/gap", "--write", "--topology=v5e:16x16", answered=failing)[0] == 1
    found = aot_page.read()
    assert [(row["config"], row["fits"]) for row in found.rows] == [
        ("balancing/gap", False), *[("regret/medical", True)] * 3
    ]  # fmt: skip
    text = (page / "README.md").read_text()
    assert text.startswith("Before.\n")
    assert text.endswith("After.\n")
    assert "old" not in text
    assert "- balancing/gap on v5e:16x16: HBM: too much" in text
    (left,) = [line for line in text.splitlines() if line.startswith("Not tried yet on v6e:16x16: ")]
    assert {"balancing/gap", "mlmc/work"} <= set(left.rpartition(": ")[2].removesuffix(".").split(", "))
    assert "regret/medical" not in left
    assert text == aot_page.with_table(found, text)


def test_the_page_is_begun_anew_with_another_compiler(said, page, monkeypatch):
    said("--only=regret/medical", "--write")
    monkeypatch.setattr(aot_pods.process, "compiler", lambda: "libtpu 1.3")
    err = said("--only=regret/work", "--write")[2] + said("--only=mlmc/work", "--write")[2]
    assert "The stored table is of libtpu 1.2: it is begun anew." in err
    assert {row["config"] for row in aot_page.read().rows} == {"mlmc/work"}


def test_the_stored_page_is_of_pod_configs_that_there_are_and_every_family_fits_every_target():
    found = aot_page.read()
    targets = [str(aot_jobs.parse_target(*target)) for target in aot_pods.TARGETS]
    wanted = set(itertools.product((pod.name for pod in pods.pods()), targets))
    assert {(row["config"], row["target"]) for row in found.rows} <= wanted
    assert aot_page.PAGE.read_text() == aot_page.with_table(found, aot_page.PAGE.read_text())
    fit = {(row["config"].partition("/")[0], row["target"]) for row in found.rows if row["fits"]}
    assert fit == set(itertools.product(FAMILIES, targets))


def test_a_missing_config_is_told():
    with pytest.raises(UsageError, match="no config configs/regret/medcal_pod.py"):
        pods.find("configs/regret/medcal_pod.py")
