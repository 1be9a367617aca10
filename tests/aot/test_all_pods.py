"""`experiments.aot --all` with the compiler: a pod config of every family on a v5e pod, a v6e pod and two v5e pods."""

import csv
import io

import pytest

from experiments import aot
from experiments.lib import aot_jobs, aot_pods

pytestmark = pytest.mark.tpu_aot
#: One of each family, among those that compile in the fewest seconds. The whole table is in configs/README.md.
QUICK = (
    "balancing/gap", "halpern/sharding", "matching/lp", "mlmc/deadline", "pooling/downsampling", "regret/medical",
)  # fmt: skip


@pytest.fixture(scope="module")
def answered(compiler):
    """Exit code, and the rows as CSV has them, of the command on all of `QUICK`."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdout", out)
        patch.setattr("sys.stderr", err)
        code = aot.main(["--all", f"--only={','.join(QUICK)}", "--csv=-", "--limit_seconds=120"])
    return code, list(csv.DictReader(io.StringIO(out.getvalue()))), err.getvalue()


def test_one_of_every_family_compiles_and_fits_on_every_target(answered):
    code, rows, err = answered
    assert code == 0, err
    targets = [str(aot_jobs.parse_target(*target)) for target in aot_pods.TARGETS]
    assert [(row["config"], row["target"]) for row in rows] == [(name, target) for name in QUICK for target in targets]
    assert {row["fits"] for row in rows} == {"True"}
    assert len(err.splitlines()) == len(rows)


def test_every_column_is_there_and_means_something(answered):
    for row in answered[1]:
        assert 0 < int(row["bytes"]) < int(row["available_bytes"])
        assert float(row["flops"]) > 0
        assert float(row["step_seconds"]) > float(row["communication_seconds"]) >= 0
        assert (float(row["collectives"]) > 0) == (float(row["communication_seconds"]) > 0)
        assert row["bound"] in ("schedule", "mxu", "hbm", "links", "network")
        assert float(row["compile_seconds"]) > 0
        assert row["simulated"] == "False"


def test_two_slices_give_a_chip_as_much_to_do_as_one(answered):
    rows = {(row["config"], row["target"]): row for row in answered[1]}
    for name in QUICK:
        one, two = rows[name, "v5e:16x16"], rows[name, "2 slices of v5e:16x16"]
        assert (one["chips"], two["chips"]) == ("256", "512")
        assert float(two["flops"]) == pytest.approx(float(one["flops"]), rel=1e-9)
        # Replicates do not communicate, within a slice or between two.
        assert float(two["step_seconds"]) == pytest.approx(float(one["step_seconds"]), rel=1e-3)


def test_what_takes_longer_than_the_limit_is_told_and_the_others_go_on(compiler, capsys):
    arguments = ("--all", "--only=mlmc/rates,mlmc/deadline", "--topology=v5e:16x16", "--fresh")
    code = aot.main([*arguments, "--limit_seconds=1", "--json=-"])
    assert code == 1
    told = capsys.readouterr().err.splitlines()
    assert [line.partition(":")[0] for line in told] == ["1/2  mlmc/rates on v5e", "2/2  mlmc/deadline on v5e"]
    assert all("the compiler did not finish within 1 s." in line for line in told)
