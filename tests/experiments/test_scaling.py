"""Scaling on paper: what is compiled for which number of chips, and curves worked out by hand."""

import math

import pytest

from experiments import scaling as command
from experiments.lib import aot_jobs, pods, scaling, scaling_page
from experiments.lib.errors import RunError
from experiments.lib.scaling import HOST_BANDWIDTH, Point
from experiments.lib.step_time import BETWEEN_SLICES, Work
from pallas_kernels._lab import process
from pallas_kernels._lab.report import Collective

FAMILIES = {"balancing", "halpern", "matching", "mlmc", "pooling", "regret"}
SUM = Collective("", "all-reduce", 2.0, 10**8, 16)
FAR = Collective("", "all-reduce", 1.0, 10**8, 16, BETWEEN_SLICES)
#: Seconds of `SUM` in a step of 16 chips of v5e: both axes of the torus, four chips each.
SUM_SECONDS = 2 * (2 * 15 / 16 * 1e8 / 200e9 + 8e-6)


def made(mode, chips, milliseconds=1.0, *collectives, why_not=None, metric_bytes=0.0):
    work = None if why_not else Work(milliseconds * 1.5e6, False, 0.0, 0.0, collectives)
    return Point("family/question", mode, chips, why_not, work, metric_bytes)


def curve(mode, *points):
    found = scaling.curve(points, mode)
    return [one.chips for one in found], scaling.efficiencies(found, mode), found


def test_one_config_of_every_family():
    assert {name.partition("/")[0] for name in command.REPRESENTATIVES} == FAMILIES
    assert len(command.REPRESENTATIVES) == len(FAMILIES)
    assert set(command.REPRESENTATIVES) <= {pod.name for pod in pods.pods()}


def test_weak_work_grows_with_the_chips_and_strong_work_does_not():
    found = {(mode, chips): job for mode, chips, job in scaling.jobs(pods.find("configs/regret/medical_pod.py"))}
    assert set(found) == {(mode, chips) for mode in scaling.MODES for chips in (1, 16, 256, 512, 4096)}
    weak, strong = ([found[mode, chips].overrides for chips in scaling.TARGETS] for mode in scaling.MODES)
    assert [change.get("run.replicates", 4096) for change in weak] == [16, 256, 4096, 8192, 65536]
    assert strong == [{}] * 5  # 4,096 replicates, one for each of as many chips
    wanted = [("v5e", 1), ("v5e:4x4", 1), ("v5e:16x16", 1), ("v5e:16x16", 2), ("v5e:16x16", 16)]
    assert [job.target for job in found.values()] == wanted * 2


def test_replicates_that_do_not_divide_are_the_same_for_every_chip():
    found = {(mode, chips): job for mode, chips, job in scaling.jobs(pods.find("configs/matching/ratio_pod.py"))}
    assert found["strong", 256].overrides == {}
    assert found["strong", 4096].overrides == {"run.replicates": 3 * 4096}  # of 10,240


def test_a_mesh_has_no_axis_longer_than_the_chips():
    found = {
        (mode, chips): job for mode, chips, job in scaling.jobs(pods.find("configs/balancing/lm_schedules_pod.py"))
    }
    assert found["weak", 1].mesh == {"rep": 1, "data": -1, "model": 1}
    assert found["weak", 16].mesh == {"rep": 1, "data": -1, "model": 8}
    assert found["weak", 4096].overrides["run.batch_size"] == 4096


def test_without_communication_weak_scaling_is_ideal():
    chips, shares, found = curve("weak", made("weak", 1), made("weak", 16), made("weak", 256))
    assert (chips, shares) == (list(scaling.TARGETS), [1] * 5)
    assert [one.compiled for one in found] == [True] * 3 + [False] * 2
    assert scaling.stop(found, "weak") is None


def test_communication_comes_on_top_of_a_step():
    _, shares, found = curve("weak", made("weak", 1), made("weak", 16, 1.0, SUM))
    assert found[1].time.links == pytest.approx(SUM_SECONDS)
    assert shares[1] == pytest.approx(1e-3 / (1e-3 + SUM_SECONDS))
    assert scaling.stop(found, "weak").chips == 16
    assert found[1].bound == "links"


def test_between_slices_the_hosts_network_carries_it():
    _, shares, found = curve("weak", made("weak", 1), made("weak", 4096, 1.0, FAR))
    seconds = 2 * 15 / 16 * 1e8 / 3.125e9 + 2e-4
    assert found[-1].time.network == pytest.approx(seconds)
    assert shares[-1] == pytest.approx(1e-3 / (1e-3 + seconds))
    assert found[-1].bound == "network"


def test_strong_scaling_is_against_the_fewest_chips_that_it_fits_on():
    points = [made("strong", 1, why_not="HBM: too much"), made("strong", 16, 16.0), made("strong", 256, 2.0)]
    chips, shares, found = curve("strong", *points)
    assert (chips, shares) == ([16, 256], [pytest.approx(1), pytest.approx(16 * 16 / (256 * 2))])
    assert scaling.stop(found, "strong") is None  # half is not less than half


def test_more_chips_than_there_is_work_for_wait():
    points = [made("strong", 1, 256.0), made("strong", 256, 1.0), made("strong", 4096, why_not="256 sequences")]
    chips, shares, found = curve("strong", *points)
    assert (chips, shares) == ([1, 256, 4096], [pytest.approx(1), pytest.approx(1), pytest.approx(1 / 16)])
    assert [one.compiled for one in found] == [True, True, False]
    assert scaling.stop(found, "strong").chips == 4096


def test_a_compiler_that_is_given_up_says_nothing_about_more_chips():
    given_up = made("strong", 4096, why_not="advance on v5e: the compiler did not finish within 600 s.")
    assert curve("strong", made("strong", 256), given_up)[0] == [256]


def test_what_is_not_compiled_follows_only_where_chips_do_not_communicate():
    missing = made("weak", 4096, why_not="the compiler did not finish within 600 s.")
    assert curve("weak", made("weak", 256), missing)[0] == [1, 16, 256, 512, 4096]
    exchanged = SUM._replace(kind="all-to-all", group=256)
    assert curve("weak", made("weak", 256, 1.0, exchanged), missing)[0] == [1, 16, 256]


def test_a_sum_over_more_slices_follows_from_one():
    """Each chip of a group has summed its part, which is then summed between slices; those of `model` stay within."""
    experts, everybody = SUM._replace(group=8), SUM._replace(group=256)
    whole = made("weak", 256, 1.0, experts, everybody)._replace(model=8)
    chips, _, found = curve("weak", whole)
    assert (chips[3:], [one.compiled for one in found[3:]]) == ([512, 4096], [False, False])
    assert [one.time.links for one in found[3:]] == pytest.approx([found[2].time.links] * 2)
    part = 2 * 1e8 / 256 / 3.125e9  # of both calls of a step
    assert [one.time.network for one in found[3:]] == pytest.approx(
        [2 * (s - 1) / s * part + 2 * 2e-4 for s in (2, 16)]
    )


def test_a_part_of_a_slice_follows_from_the_whole():
    """Groups shrink with it, but those along the axis `model`; a chip alone sends nothing."""
    experts, everybody = SUM._replace(group=8), SUM._replace(group=256)
    whole = made("weak", 256, 1.0, experts, everybody)._replace(model=8)
    chips, shares, found = curve("weak", whole)
    assert chips[:3] == [1, 16, 256]
    assert [one.compiled for one in found[:3]] == [False, False, True]
    assert (found[0].seconds, shares[0]) == (pytest.approx(1e-3), 1)
    eight = 2 * (2 * 7 / 8 * 1e8 / 200e9 + math.sqrt(8) * 2e-6)  # on 4x4 chips both axes are needed
    assert found[1].time.links == pytest.approx(eight + SUM_SECONDS)


def test_sixteen_slices_follow_from_two():
    missing = made("weak", 4096, why_not="the compiler did not finish within 600 s.")
    chips, _, found = curve("weak", made("weak", 256), made("weak", 512, 1.0, SUM, FAR._replace(group=2)), missing)
    assert (chips[2:], [one.compiled for one in found[2:]]) == ([256, 512, 4096], [True, True, False])
    assert found[4].time.links == found[3].time.links
    assert [one.time.network for one in found[3:]] == pytest.approx(
        [2 * (s - 1) / s * 1e8 / 3.125e9 + 2e-4 for s in (2, 16)]
    )


def test_the_host_fetches_every_replicate_s_metrics():
    metric_bytes = HOST_BANDWIDTH * 1e-3
    given = made("weak", 1), made("weak", 256, metric_bytes=3 * metric_bytes)
    _, shares, found = curve("weak", *given)
    assert shares[2:4] == pytest.approx([1 / 4, 1 / 7])  # twice as many replicates on 512 chips
    assert found[2].bound == "host"


def test_metrics_are_counted_over_all_replicates_and_per_step():
    # A row of 7 methods and of the groups, in float32, of 4,096 replicates each 96 steps.
    pod = pods.find("configs/regret/medical_pod.py")
    counted = scaling.metric_bytes(pod)
    assert counted > 0
    assert counted * 96 % (4 * 4096) == 0


def test_a_point_survives_json_and_collectives_alike_are_one():
    point = made(
        "weak",
        16,
        1.0,
        SUM._replace(name="a"),
        SUM._replace(name="b", calls=3.0),
        FAR,
        FAR._replace(calls=3.0, bytes=10**6),
    )
    again = Point.of(point.plain())
    assert again.work.collectives == (SUM._replace(calls=5.0), FAR._replace(calls=3.0, bytes=(1e8 + 3e6) / 3))
    assert scaling.curve([again], "weak")[0].seconds == pytest.approx(scaling.curve([point], "weak")[0].seconds)
    missing = made("weak", 16, why_not="no")
    assert Point.of(missing.plain()) == missing


def test_a_row_says_where_it_stops():
    points = [made("strong", 1, 256.0), made("strong", 256, 1.0), made("strong", 4096, why_not="256 sequences")]
    weak, strong = scaling_page.lines(points)
    assert weak == ("family/question", "weak", *["-"] * 5, "", "")
    assert strong[2:] == ("256 ms, 100%", "-", "1 ms, 100%", "-", "(1 ms, 6%)", "4,096", "schedule")


def test_the_stored_page_has_every_point_and_its_table():
    page = scaling_page.read()
    assert {point.config for point in page.points} == set(command.REPRESENTATIVES)
    for name in command.REPRESENTATIVES:
        points = [point for point in page.points if point.config == name]
        weak, strong = (scaling.curve(points, mode) for mode in scaling.MODES)
        assert [one.chips for one in weak] == list(scaling.TARGETS), name
        assert strong[-1].chips == 4096, name
        assert {True} <= {one.compiled for one in weak} & {one.compiled for one in strong}, name
    assert scaling_page.PAGE.read_text() == scaling_page.with_table(page, scaling_page.PAGE.read_text())


def test_the_command_shows_what_is_stored(capsys):
    assert command.main(["--only=regret"]) == 0
    out = capsys.readouterr().out
    assert "regret/medical" in out
    assert "mlmc" not in out


def test_every_family_that_is_asked_for_is_compiled_and_stored(monkeypatch, tmp_path, capsys):
    """Of two families, the second as the first; and with another compiler from nothing, which is told."""
    monkeypatch.setattr(scaling_page, "STORE", tmp_path / "scaling.json")
    monkeypatch.setattr(scaling_page, "PAGE", tmp_path / "SCALING.md")
    (tmp_path / "SCALING.md").write_text("<!-- table: begin -->\n<!-- table: end -->\n")
    monkeypatch.setattr(scaling, "metric_bytes", lambda pod: 8.0)
    monkeypatch.setattr(aot_jobs, "run", lambda jobs, _: [aot_jobs.Answer(job, None, "no compiler") for job in jobs])
    asked = ["--write", "--only=regret,matching", "--mode=weak", "--chips=16,256"]
    monkeypatch.setattr(process, "compiler", lambda: "libtpu 1")
    assert command.main(asked) == 0
    found = {(point.config, point.mode, point.chips) for point in scaling_page.read().points}
    assert found == {(name, "weak", chips) for name in ("regret/medical", "matching/lp") for chips in (16, 256)}
    monkeypatch.setattr(process, "compiler", lambda: "libtpu 2")
    assert command.main([*asked, "--only=matching"]) == 0
    assert "The stored table is of libtpu 1: it is begun anew." in capsys.readouterr().err
    assert {point.config for point in scaling_page.read().points} == {"matching/lp"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--only=regrets"], "--only: no pod config regrets; nearest: regret/medical."),
        (["--config.seed=1"], "--config.seed needs a command"),
        (["stray"], "unexpected argument 'stray'"),
    ],
)
def test_a_wrong_command_is_one_line(capsys, arguments, message):
    assert command.main(arguments) == 2
    assert capsys.readouterr().err.startswith(f"error: {message}")


def test_nothing_stored_is_one_line(monkeypatch, tmp_path):
    monkeypatch.setattr(scaling_page, "CHECKOUT", tmp_path)
    monkeypatch.setattr(scaling_page, "STORE", tmp_path / "scaling.json")
    with pytest.raises(RunError, match=r"scaling.json is missing: python -m experiments.scaling --write"):
        scaling_page.read()
