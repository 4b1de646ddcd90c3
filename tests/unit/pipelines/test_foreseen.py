"""What can be told of a plan on a node before it runs."""

from __future__ import annotations

from gamenode_pipelines.compile import compile_plan
from gamenode_pipelines.foreseen import commands, host_ports, may_become, publishes
from gamenode_pipelines.load import load_pipelines
from gamenode_pipelines.plan import Plan
from gamenode_pipelines.task_state import NodeFacts

NODE = NodeFacts("n1", "eu-1", {"region": "eu"})


def _plan(steps: str) -> Plan:
    (loaded,) = load_pipelines(
        f"pipeline: p\nparams: {{port: {{type: integer, default: 5}}}}\nsteps:\n{steps}", "p.yaml"
    )
    return compile_plan(loaded.spec, {}, version=1)


def test_what_is_known_beforehand_is_filled_in_and_the_rest_stays_as_written() -> None:
    plan = _plan(
        "  - {id: a, run: 'echo \"${{ node.name }} ${{ steps.b.outputs.x }}\"'}\n"
        "  - {id: b, needs: [], run: [echo, '${{ params.port }}', '${{ task.fence }}']}\n"
        "  - {id: c, if: '${{ node.labels.region == \"us\" }}', run: 'true'}\n"
        "  - {id: d, if: '${{ steps.a.outputs.x }}', uses: check.tcp, with: {port: '${{ params.port + 1 }}'}}\n"
    )
    found = {command.step: command for command in commands(plan, NODE)}
    assert found["a"].text.splitlines()[:2] == ["GAMENODE_EXPR_1=eu-1", "GAMENODE_EXPR_2=${{ steps.b.outputs.x }}"]
    assert found["b"].text == "echo 5 ${{ task.fence }}"
    assert [name for name, command in found.items() if command.skipped] == ["c"]
    assert (found["d"].kind, found["d"].text) == ("check.tcp", "port: 6")


def test_ports_of_the_host_are_those_that_will_surely_be_published() -> None:
    plan = _plan(
        "  - id: a\n    uses: container.run\n"
        "    with:\n      name: oa-${{ params.port }}\n      image: x\n"
        "      ports: ['2796${{ params.port }}:1/udp', '127.0.0.1:80-81:1-2', '3']\n"
        "  - id: b\n    if: ${{ steps.a.state }}\n    uses: container.run\n"
        "    with: {name: bb, image: x, ports: ['9:9']}\n"
        "  - id: c\n    uses: container.run\n    with: {name: cc, image: x, ports: ['${{ steps.a.outputs.port }}:9']}\n"
    )
    assert publishes(plan)
    assert [(want.container, want.port.host_port, want.port.protocol) for want in host_ports(plan, NODE)] == [
        ("oa-5", 27965, "udp"),
        ("oa-5", 80, "tcp"),
        ("oa-5", 81, "tcp"),
    ]
    assert not publishes(_plan("  - {id: a, run: 'true'}\n"))


def test_what_a_text_may_become_is_fixed_as_far_as_it_is_known() -> None:
    plan = _plan("  - {id: a, run: 'true'}\n")
    text = "${{ node.name }}-${{ params.port }}.${{ steps.a.outputs.x }}.tar"
    may = may_become(text, plan.steps[0], plan, NODE, "")
    for fits in ("eu-1-5.z.tar", "eu-1-5..tar"):
        assert may(fits)
    for other in ("eu-2-5.z.tar", "eu-1-5.z.tarx", "eu-1-6.z.tar"):
        assert not may(other)
    assert not may_become("a.b", plan.steps[0], plan, NODE, "")("axb")
