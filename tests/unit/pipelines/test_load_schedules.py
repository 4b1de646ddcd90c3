"""`schedule:` in pipeline files: what it takes, and what is said of one that is wrong."""

from __future__ import annotations

import pytest

from gamenode_pipelines import Pipeline, Step
from gamenode_pipelines.authoring import to_yaml
from gamenode_pipelines.errors import InvalidPipeline
from gamenode_pipelines.load import load_pipelines
from gamenode_pipelines.schedules import CatchUp, OnOverlap
from gamenode_pipelines.schema import explain

HEAD = "pipeline: p\nparams: {keep: {type: integer, default: 3}}\ntargets: {select: role=game}\n"
STEPS = "steps:\n  - {id: a, run: 'true'}\n"


def problems(schedule: str, *, head: str = HEAD) -> list[str]:
    with pytest.raises(InvalidPipeline) as wrong:
        load_pipelines(head + schedule + STEPS, "p.yaml")
    return [
        f"{each.line}:{each.column}: {each.message}" + (f" ({each.suggestion})" if each.suggestion else "")
        for each in wrong.value.problems
    ]


def test_one_may_stand_alone() -> None:
    (loaded,) = load_pipelines(HEAD + "schedule: {cron: '0  4 * * *', params: {keep: 5}}\n" + STEPS, "p.yaml")
    (schedule,) = (each.schedule for each in loaded.spec.schedule)
    assert (schedule.id, schedule.cron, schedule.timezone, schedule.params) == (
        "default",
        "0 4 * * *",
        "UTC",
        {"keep": "5"},
    )
    assert (schedule.catch_up, schedule.on_overlap, schedule.enabled) == (CatchUp.LATEST, OnOverlap.SKIP, True)


def test_several_are_a_list() -> None:
    text = (
        "schedule:\n  - {id: night, cron: '0 4 * * *', timezone: Europe/Berlin, catch_up: all}\n"
        "  - {id: noon, cron: '0 12 * * MON', on_overlap: cancel, enabled: false}\n"
    )
    (loaded,) = load_pipelines(HEAD + text + STEPS, "p.yaml")
    assert [each.id for each in loaded.spec.schedule] == ["night", "noon"]
    assert load_pipelines(to_yaml(loaded.spec), "again.yaml")[0].spec == loaded.spec


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "schedule: daily\n",
            "4:11: `schedule` must be a schedule like {cron: '0 4 * * *'}, or a list of them, not 'daily'",
        ),
        ("schedule: {}\n", "4:1: `cron` is missing in `schedule`"),
        ("schedule: {cron: '0 4 * *'}\n", "4:18: `cron` must be five fields"),
        ("schedule: {cron: '0 25 * * *'}\n", "4:18: `cron` '0 25 * * *' is no cron expression: bad hour"),
        ("schedule: {cron: '0 0 31 2 *'}\n", "4:18: `cron` '0 0 31 2 *' is no cron expression: bad day-of-month"),
        ("schedule: {cron: '0 4 * * *', timezone: Europe/Berln}\n", "(Europe/Berlin)"),
        ("schedule: {cron: '0 4 * * *', timezone: ../../etc/passwd}\n", "4:41: `timezone`"),
        ("schedule: {cron: '0 4 * * *', catchup: all}\n", "4:31: unknown key 'catchup' in `schedule` (catch_up)"),
        ("schedule: {cron: '0 4 * * *', on_overlap: wait}\n", "4:43: `on_overlap`"),
        ("schedule: {cron: '0 4 * * *', params: {kep: 1}}\n", "did you mean 'keep'?"),
        ("schedule: {cron: '0 4 * * *', params: {keep: many}}\n", "schedule 'default', parameter 'keep': "),
        ("schedule: {cron: '0 4 * * *', params: {keep: '${{ node.name }}'}}\n", "expressions are not allowed"),
        (
            "schedule:\n  - {cron: '0 4 * * *'}\n  - {cron: '0 5 * * *'}\n",
            "6:5: the schedule 'default' is already in line 5; give each an `id`",
        ),
        ("schedule:\n  - {id: a, cron: '0 4 * * *'}\n  - {id: b, cron: 'x'}\n", "6:19: `cron` must be five fields"),
    ],
)
def test_what_is_wrong_is_told_at_its_place(text: str, said: str) -> None:
    found = problems(text)
    assert len(found) == 1, found
    assert said in found[0]


def test_somebody_has_to_say_where() -> None:
    (said,) = problems("schedule: {cron: '0 4 * * *'}\n", head="pipeline: p\n")
    assert "`schedule` needs `targets`" in said


def test_it_is_explained_and_written_in_python() -> None:
    assert explain("schedule.catch_up").description == "Which of the starts that were missed happen later."
    pipeline = Pipeline(
        "p", targets={"select": "role=game"}, schedule={"cron": "0 4 * * *"}, steps=[Step("a", run="true")]
    )
    assert pipeline.load().spec.schedule[0].cron == "0 4 * * *"
