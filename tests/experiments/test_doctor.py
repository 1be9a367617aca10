"""The doctor tells what is here, goes on after a failing section, and says so."""

import pytest

from experiments import doctor
from pallas_kernels import _dispatch


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    monkeypatch.setattr(doctor.backend, "prepare_environment", lambda: None)


def test_every_section_speaks(capsys):
    assert doctor.main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    headings = [line for line in lines if not line.startswith(" ")]
    assert headings == ["versions", "devices", "precision", "kernels", "extras", "data", "compile cache"]
    assert sum("prequential_ridge[" in line and line.endswith(": chosen") for line in lines) == 1
    assert any("adult: " in line for line in lines)


def test_a_broken_section_does_not_silence_the_others(monkeypatch, capsys):
    def broken():
        raise RuntimeError("no\ndevices")
        yield

    monkeypatch.setattr(doctor, "_SECTIONS", (broken, doctor.extras))
    assert doctor.main([]) == 1
    out = capsys.readouterr().out
    assert "  PROBLEM: RuntimeError: no devices\n" in out
    assert "extras\n" in out


def test_explain_follows_choose():
    def op(x):
        return x

    candidates = {
        "pallas_tpu": _dispatch.Candidate({"tpu": op}),
        "wide": _dispatch.Candidate({"default": op}, lambda x: "N=3 is not a multiple of 128"),
        "xla": _dispatch.Candidate({"cpu": op, "default": op}),
        "reference": _dispatch.Candidate({"default": op}, automatic=False),
    }
    reason = "N=3 is not a multiple of 128"
    assert _dispatch.explain(candidates, "cpu", 3) == {
        "pallas_tpu": "for tpu only", "wide": reason, "xla": None, "reference": "only when asked for by name"
    }  # fmt: skip
    assert _dispatch.explain(candidates, "tpu", 3) == {
        "pallas_tpu": None, "wide": reason, "xla": "pallas_tpu comes first", "reference": "only when asked for by name"
    }  # fmt: skip
