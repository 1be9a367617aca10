"""Reading compiled programs: every instruction as often as it runs, by hand-written texts of the compiler's form."""

import pathlib
import textwrap

import pytest

from pallas_kernels._lab import assemble, execution, hlo, schedule

ARRAY = "f32[8,128]{1,0:T(8,128)}"
NOWHERE = pathlib.Path("nowhere")


def program(entry: str, *computations: str) -> str:
    """A program of one argument `%x`."""
    bodies = [textwrap.dedent(text).strip() for text in computations]
    lines = "\n".join(f"  {line}" for line in textwrap.dedent(entry).strip().splitlines())
    return "\n\n".join([
        "HloModule jit_f, is_scheduled=true", *bodies,
        f"ENTRY %main (x: f32[8,128]) -> f32[8,128] {{\n  %x = {ARRAY} parameter(0)\n{lines}\n}}",
    ])  # fmt: skip


def loop(name: str, inside: str, *, limit="100", step="constant(1)", direction="LT", condition="") -> list[str]:
    """Condition and body of a loop whose state is a counter and an array; `inside` makes `%y` of `%a`."""
    state = f"(s32[], {ARRAY})"
    whole = condition or f"ROOT %c.{name} = pred[] compare(%i.{name}, %n.{name}), direction={direction}"
    return [
        f"%cond.{name} (s: {state}) -> pred[] {{\n  %s.{name} = {state} parameter(0)\n"
        f"  %i.{name} = s32[] get-tuple-element(%s.{name}), index=0\n  %n.{name} = s32[] constant({limit})\n"
        f"  {whole}\n}}",
        f"%body.{name} (t: {state}) -> {state} {{\n  %t.{name} = {state} parameter(0)\n"
        f"  %j.{name} = s32[] get-tuple-element(%t.{name}), index=0\n  %one.{name} = s32[] {step}\n"
        f"  %next.{name} = s32[] add(%j.{name}, %one.{name})\n"
        f"  %a = {ARRAY} get-tuple-element(%t.{name}), index=1\n  {inside}\n"
        f"  ROOT %r.{name} = {state} tuple(%next.{name}, %y)\n}}",
    ]


def around(name: str, start: str = "constant(0)", argument: str = "%x") -> str:
    state = f"(s32[], {ARRAY})"
    return (
        f"%start.{name} = s32[]{{:T(128)}} {start}\n%first.{name} = s32[]{{:T(128)}} copy(%start.{name})\n"
        f"%state.{name} = {state} tuple(%first.{name}, {argument})\n"
        f"%w.{name} = {state} while(%state.{name}), condition=%cond.{name}, body=%body.{name}\n"
        f"%out.{name} = {ARRAY} get-tuple-element(%w.{name}), index=1\n"
    )


WORK = f"%y = {ARRAY} tanh(%a)"


def calls(text: str) -> tuple[dict[str, float], list[str]]:
    caveats: list[str] = []
    return {one.instruction.name: one.calls for one in execution.running(hlo.parse(text), caveats)}, caveats


@pytest.mark.parametrize(
    ("start", "limit", "step", "direction", "rounds"),
    [
        ("constant(0)", "100", "constant(1)", "LT", 100),
        ("constant(3)", "20", "constant(1)", "LT", 17),
        ("constant(-5)", "6", "constant(1)", "LT", 11),
        ("constant(0)", "100", "constant(5)", "LT", 20),
        ("constant(0)", "101", "constant(5)", "LT", 21),
        ("constant(0)", "10", "constant(1)", "LE", 11),
        ("constant(13)", "0", "constant(-1)", "GT", 13),
        ("constant(13)", "0", "constant(-2)", "GE", 7),
        ("constant(0)", "12", "constant(4)", "NE", 3),
        ("constant(7)", "7", "constant(1)", "LT", 0),
        ("constant(9)", "7", "constant(1)", "LT", 0),
    ],
)
def test_rounds_follow_from_start_step_limit_and_direction(start, limit, step, direction, rounds):
    found, caveats = calls(program(around("a", start), *loop("a", WORK, limit=limit, step=step, direction=direction)))
    assert found == {"y": rounds}
    assert not caveats


@pytest.mark.parametrize(
    ("start", "step", "direction", "limit"),
    [
        ("reduce(%x)", "constant(1)", "LT", "100"),  # where it starts is computed
        ("constant(0)", "reduce(%t.a)", "LT", "100"),  # what it adds is computed
        ("constant(0)", "constant(-1)", "LT", "100"),  # it runs away from its limit
        ("constant(0)", "constant(5)", "NE", "12"),  # it misses its limit
        ("constant(0)", "constant(1)", "EQ", "12"),
    ],
)
def test_a_loop_that_no_constant_ends_is_counted_once_and_named(start, step, direction, limit):
    text = program(around("a", start), *loop("a", WORK, limit=limit, step=step, direction=direction))
    found, caveats = calls(text)
    assert found["y"] == 1
    assert caveats == ["loop w.a: its number of rounds depends on data; counted once"]


def test_a_loop_that_data_can_end_before_its_limit_says_so():
    condition = (
        '%p.a = pred[] compare(%i.a, %n.a), direction=LT\n  %q.a = pred[] custom-call(%s.a), custom_call_target="t"\n'
        "  ROOT %c.a = pred[] and(%p.a, %q.a)"
    )
    found, caveats = calls(program(around("a"), *loop("a", WORK, limit="30", condition=condition)))
    assert found["y"] == 30
    assert caveats == ["loop w.a: data can end it before its 30 rounds; all are counted"]


def test_a_condition_inside_a_fusion_is_read():
    fused = (
        "%fused (p0: s32[], p1: s32[]) -> pred[] {\n  %p0 = s32[] parameter(0)\n  %p1 = s32[] parameter(1)\n"
        "  ROOT %lt = pred[] compare(%p1, %p0), direction=LT\n}"
    )
    condition = "ROOT %c.a = pred[] fusion(%n.a, %i.a), kind=kLoop, calls=%fused"
    assert calls(program(around("a"), fused, *loop("a", WORK, limit="12", condition=condition))) == ({"y": 12}, [])


def test_counters_of_64_bits_are_two_words():
    state = f"(u32[], u32[], {ARRAY})"
    condition = f"""%cond (s: {state}) -> pred[] {{
  %zero = s32[] constant(0)
  %none = u32[] constant(0)
  %five = u32[] constant(5)
  %s = {state} parameter(0)
  %high = u32[] get-tuple-element(%s), index=1
  %signed = s32[] bitcast-convert(%high)
  %below = pred[] compare(%signed, %zero), direction=LT
  %same = pred[] compare(%high, %none), direction=EQ
  %low = u32[] get-tuple-element(%s), index=0
  %less = pred[] compare(%low, %five), direction=LT
  %both = pred[] and(%same, %less)
  ROOT %or = pred[] or(%below, %both)
}}"""
    body = f"""%body (t: {state}) -> {state} {{
  %t = {state} parameter(0)
  %one = u32[] constant(1)
  %i = u32[] get-tuple-element(%t), index=0
  %next = u32[] add(%i, %one)
  %carry = pred[] compare(%next, %i), direction=LT
  %up = u32[] get-tuple-element(%t), index=1
  %more = u32[] add(%up, %one)
  %upper = u32[] select(%carry, %more, %up)
  %a = {ARRAY} get-tuple-element(%t), index=2
  %y = {ARRAY} tanh(%a)
  ROOT %r = {state} tuple(%next, %upper, %y)
}}"""
    entry = f"""%k = u32[] constant(0)
%state = {state} tuple(%k, %k, %x)
%w = {state} while(%state), condition=%cond, body=%body"""
    assert calls(program(entry, condition, body)) == ({"y": 5}, [])


def test_nested_loops_multiply_and_what_the_outer_holds_constant_is_known_inside():
    inner = around("b", argument="%a") + f"%y = {ARRAY} exp(%out.b)"
    text = program(
        around("a"), *loop("b", f"%z = {ARRAY} tanh(%a)\n  %y = {ARRAY} copy(%z)", limit="5"),
        *loop("a", inner.replace("\n", "\n  "), limit="7"),
    )  # fmt: skip
    found = [(r.instruction.opcode, r.calls) for r in execution.running(hlo.parse(text), [])]
    assert sorted(found) == [("copy", 35), ("exp", 7), ("tanh", 35)]


def test_an_inner_limit_that_the_outer_loop_counts_depends_on_data():
    triangle = program(
        f"""%k = s32[] constant(0)
%state = (s32[], {ARRAY}) tuple(%k, %x)
%w.a = (s32[], {ARRAY}) while(%state), condition=%cond.a, body=%body.a""",
        *loop("b", WORK, limit="5"),
        *loop("a", around("b", "add(%j.a, %j.a)", "%a").replace("\n", "\n  ") + f"%y = {ARRAY} exp(%out.b)", limit="4"),
    )
    caveats: list[str] = []
    found = [(r.instruction.opcode, r.calls) for r in execution.running(hlo.parse(triangle), caveats)]
    assert sorted(found) == [("exp", 4), ("tanh", 4)]
    assert caveats == ["loop w.b: its number of rounds depends on data; counted once"]


def test_a_fusion_counts_once_and_not_its_inside():
    fused = f"%f (p: f32[8,128]) -> f32[8,128] {{\n  %p = {ARRAY} parameter(0)\n  ROOT %e = {ARRAY} exp(%p)\n}}"
    text = program(f"ROOT %fusion.1 = {ARRAY} fusion(%x), kind=kLoop, calls=%f", fused)
    assert calls(text) == ({"fusion.1": 1}, [])


def test_every_branch_of_a_conditional_is_counted_and_the_report_says_so():
    branch = (
        "%{0} (p: f32[8,128]) -> f32[8,128] {{\n  %p = f32[8,128] parameter(0)\n  ROOT %{0}.y = f32[8,128] {1}(%p)\n}}"
    )
    entry = f"%i = s32[] constant(0)\nROOT %c = {ARRAY} conditional(%i, %x, %x), branch_computations={{%one, %two}}"
    found, caveats = calls(program(entry, branch.format("one", "exp"), branch.format("two", "tanh")))
    assert found == {"one.y": 1, "two.y": 1}
    assert caveats == ["conditional c: all branches are counted"]
    predicated = entry.replace("branch_computations={%one, %two}", "true_computation=%one, false_computation=%two")
    assert calls(program(predicated, branch.format("one", "exp"), branch.format("two", "tanh")))[0] == found


def test_bookkeeping_takes_no_time():
    entry = f"""%k = s32[]{{:T(128)}} constant(3)
%k2 = s32[]{{:T(128)}} add(%k, %k)
%buffer = {ARRAY} custom-call(), custom_call_target="AllocateBuffer"
%b = f32[1024]{{0:T(1024)}} bitcast(%x)
ROOT %sum = f32[]{{:T(128)}} fusion(%b), kind=kLoop, calls=%f"""
    assert calls(program(entry))[0] == {"sum": 1}


def test_a_copy_that_overlaps_with_nothing_is_listed_and_charged_its_bytes_once():
    there = f"(f32[8,128]{{1,0:T(8,128)S(1)}}, {ARRAY}, u32[]{{:S(2)}})"
    alone = f"""%go = {there} copy-start(%x)
%k = s32[] constant(1)
%k2 = s32[] add(%k, %k)
%fetched = f32[8,128]{{1,0:T(8,128)S(1)}} copy-done(%go)
ROOT %y = {ARRAY} tanh(%fetched)"""
    found = assemble.contents(program(alone), {}, NOWHERE)
    assert [(o.name, o.bytes) for o in found.operations] == [("fetched", 4096), ("y", 4096)]
    assert not found.caveats
    beside = alone.replace("%k2 = s32[] add(%k, %k)", f"%z = {ARRAY} exp(%x)")
    found = assemble.contents(program(beside), {}, NOWHERE)
    assert [o.name for o in found.operations] == ["z", "y"]
    assert found.caveats == ("1 asynchronous copy is taken to overlap with computation",)


@pytest.mark.parametrize(
    ("shape", "all_bytes", "hbm_bytes"),
    [
        ("f32[8,128]{1,0:T(8,128)}", 4096, 4096),
        ("f32[8,128]{1,0:T(8,128)S(1)}", 4096, 0),
        ("(bf16[4,4]{1,0:T(8,128)(2,1)}, pred[16]{0:T(512)}, u32[]{:S(2)})", 32 + 16 + 4, 48),
        ("s4[16]{0}", 8, 8),
        ("(f32[], c64[3], token[])", 28, 28),
        ("f8e4m3fn[32]", 32, 32),
        ("s32[<=16,2]", 128, 128),
        ("(s32[2], /*index=5*/f64[1])", 16, 16),
    ],
)
def test_bytes_of_shapes(shape, all_bytes, hbm_bytes):
    assert hlo.tuple_bytes(shape) == all_bytes
    assert hlo.tuple_bytes(shape, hbm_only=True) == hbm_bytes


@pytest.mark.parametrize(
    ("line", "kind", "num_bytes", "group"),
    [
        ("f32[2,128] all-reduce(%x), replica_groups={{0,1,2,3},{4,5,6,7}}, to_apply=%s", "all-reduce", 1024, 4),
        ("f32[2,128] all-to-all(%x), replica_groups=[2,16]<=[32]", "all-to-all", 1024, 16),
        ("(f32[2,128], f32[3]) all-reduce-start(%x), replica_groups={{0,1}}, to_apply=%s", "all-reduce", 1036, 2),
        ("(f32[1,128], f32[4,128]) all-gather-start(%x), replica_groups={{0,1,2,3}}", "all-gather", 2048, 4),
        ("((f32[1,128], f32[2]), (f32[4,128], f32[8])) all-gather-start(%x), replica_groups={{0,1,2,3}}",
         "all-gather", 2080, 4),
        ("(f32[2,128], f32[2,128], u32[], u32[]) collective-permute-start(%x), source_target_pairs={{0,1},{1,0}}",
         "collective-permute", 1024, 2),
        ("(f32[4,128], u32[], token[]) recv(%x), channel_id=3, is_host_transfer=true, frontend_attributes="
         '{_xla_megascale_target="{1,2,3,4}x{0:255}",_xla_megascale_transfer_type="ALL_GATHER"}',
         "all-gather", 2048, 4),
    ],
)  # fmt: skip
def test_collectives_have_the_bytes_of_their_result_and_their_group(line, kind, num_bytes, group):
    opcode = line.split("(%x)")[0].split()[-1]
    done = f"\n%d = {ARRAY} {opcode.removesuffix('-start')}-done(%c)"
    text = program(f"%c = {line}" + (done if "start" in opcode or opcode == "recv" else ""))
    found = assemble.contents(text, {}, NOWHERE)
    (one,) = found.collectives
    assert (one.kind, one.calls, one.bytes, one.group) == (kind, 1, num_bytes, group)
    assert not found.operations


def kernel(name: str, body: str, more: str = "") -> str:
    config = (
        '"custom_call_config":{"body":"' + body + '","cost_estimate":{"flops":"7","transcendentals":"0",'
        '"bytes_accessed":"9"}},"used_scoped_memory_configs":[{"memory_space":"1","offset":"0","size":"512"}]' + more
    )
    return f'%{name} = {ARRAY} custom-call(%x), custom_call_target="tpu_custom_call", backend_config={{{config}}}'


def test_a_kernel_has_its_own_estimates_its_memory_and_its_profile(tmp_path):
    profiled = ',"bundle_analysis_data":{"estimated_cycles":"55"}'
    text = program(kernel("k.1", "A", profiled) + "\n" + kernel("k.2", "A", profiled))
    first, second = assemble.contents(text, {"k.1": 54}, tmp_path).operations
    assert first[:7] == ("k.1", "kernel", 1, 54, True, 7, 9)
    assert first.vmem == 512
    assert (second.cycles, second.simulated) == (55, True)


def test_a_kernel_without_a_profile_takes_that_of_an_equal_one_only(tmp_path):
    (tmp_path / "schedule").mkdir()
    name = "17-k.1-00-final_hlo-static-per-bundle-utilization.txt"
    (tmp_path / "schedule" / name).write_text(UTILIZATION)
    text = program("\n".join(kernel(name, body) for name, body in (("k.1", "A"), ("k.2", "A"), ("k.3", "B"))))
    one, equal, other = assemble.contents(text, {"k.1": 54}, tmp_path).operations
    assert (one.bundles, one.spills, one.fills) == (4, 1, 2)
    assert equal == one._replace(name="k.2")
    assert (other.cycles, other.simulated, other.bundles) == (None, False, None)


UTILIZATION = """\
== bundle utilization ==
MXU, VALU, VLOAD, VLOAD:FILL, VSTORE, VSTORE:SPILL
   2     4     3     3     1     1
------
0     2     1     0     0     0
2     4     3     2     1     1
1     0     0     0     1     0

not a row
1     2     2     0     0     0
"""


def test_a_schedule_is_read_by_its_header():
    found = schedule._read(UTILIZATION)
    assert (found.bundles, found.spills, found.fills) == (4, 1, 2)
    assert found.occupancy == {"MXU": 0.5, "VALU": 0.5, "VLOAD": 0.5, "VSTORE": 0.5}
    empty = schedule._read("\n".join(UTILIZATION.splitlines()[:4]))
    assert (empty.bundles, empty.spills, set(empty.occupancy.values())) == (0, 0, {0.0})


def test_cycles_are_read_from_every_profile(tmp_path):
    folder = tmp_path / "profile"
    folder.mkdir()
    (folder / "a_static_llo_profile.textproto").write_text('hlo_op_name: "k.1"\nestimated_cycles: 12\n')
    (folder / "b_static_llo_profile.textproto").write_text('hlo_op_name: "f.2"\nx { estimated_cycles: 7 }\n')
    (folder / "c_static_llo_profile.textproto").write_text("")
    assert schedule.cycles(tmp_path) == {"k.1": 12, "f.2": 7}
    assert schedule.cycles(tmp_path / "none") == {}


def test_text_that_ends_inside_an_instruction_is_an_error_and_not_a_guess():
    with pytest.raises(ValueError, match="unclosed parenthesis"):
        hlo.parse(f"ENTRY %main (x: f32[]) -> f32[] {{\n  %y = {ARRAY} exp(%x")
