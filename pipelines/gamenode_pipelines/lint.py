"""What is wrong with a document beyond the shape of each value: names, order, expressions, scripts.

Works on the tree of the file, so that it can look at everything even where some of it has the wrong shape, and so
that each problem has its exact place.
"""

from __future__ import annotations

from typing import Final

from gamenode_pipelines import expressions, scripts
from gamenode_pipelines import yaml_tree as tree
from gamenode_pipelines.kinds import KINDS
from gamenode_pipelines.kinds.fields import DURATION
from gamenode_pipelines.problems import Report
from gamenode_pipelines.quantities import is_bare_number
from gamenode_pipelines.settings_tree import single_values
from gamenode_pipelines.spec_values import RESERVED_ENV
from gamenode_pipelines.step_names import NamedStep, NamedSteps, circle, read_steps
from gamenode_pipelines.wording import nearest, shown

#: Expressions of one pipeline, and the characters in all of them: what can be checked well within a second.
MAX_EXPRESSIONS: Final = 2_000
MAX_EXPRESSION_TEXT: Final = 64 * 1024
_DURATION_KEYS: Final = {(): ("timeout",), ("retry",): ("backoff", "max_backoff"), ("stop",): ("grace",)}


def lint(root: tree.Mapping, report: Report) -> None:
    """Reports what is wrong with a pipeline's document."""
    _Linter(root, report).run()


class _Linter:
    def __init__(self, root: tree.Mapping, report: Report) -> None:
        self._root = root
        self._report = report
        self._count = self._size = 0
        self._full = False
        self._main = read_steps(root, "steps")
        self._final = read_steps(root, "finally")
        self._known = expressions.Known(
            params=_keys(root.get("params")),
            steps=frozenset(self._main.index) | frozenset(self._final.index) | self._answer_ids(),
            env=_keys(root.get("env")),
        )

    def run(self) -> None:
        self._durations(self._root, ())
        self._parameter_durations()
        self._environment(self._root, expressions.Known(self._known.params, self._known.steps, frozenset()), None)
        seen: dict[str, tree.Place] = {}
        for group in (self._main, self._final):
            self._ids(group, seen)
            self._needs(group)
            for number, step in enumerate(group.steps):
                self._step(step.node, (group, number))
                for answer in step.answers:
                    self._answer(answer)

    def _ids(self, group: NamedSteps, seen: dict[str, tree.Place]) -> None:
        for step in (one for each in group.steps for one in (each, *each.answers)):
            if step.id is None:
                continue
            if first := seen.get(step.id.text):
                self._report(
                    step.id.place, f"the id {shown(step.id.text)} is already used in line {first.line}; change one"
                )
            else:
                seen[step.id.text] = step.id.place

    def _needs(self, group: NamedSteps) -> None:
        """Checks that what is needed exists and that no step waits for itself; notes what comes before what."""
        other = self._final if group is self._main else self._main
        waits: list[set[int]] = []
        for number, step in enumerate(group.steps):
            found: set[int] = set()
            for place, name in step.needs:
                if (needed := group.index.get(name)) is not None:
                    found.add(needed)
                elif name in other.index and group is self._final:
                    self._report(
                        place, f"{shown(name)} is one of `steps`; `finally` begins after all of them, remove it"
                    )
                elif name in other.index:
                    self._report(place, f"{shown(name)} is one of `finally`, which runs after all `steps`")
                elif name in self._answer_ids():
                    self._report(place, f"{shown(name)} is part of an `on_failure`; nothing can wait for it")
                else:
                    self._report(place, f"there is no step {shown(name)}", suggestion=nearest(name, group.index))
            if step.node.get("needs") is None and number:
                found.add(number - 1)
            waits.append(found)
        self._order(group, waits)

    def _order(self, group: NamedSteps, waits: list[set[int]]) -> None:
        """Goes through the steps as they could run; what is left over waits in a circle."""
        followers: list[list[int]] = [[] for _ in waits]
        for number, needed in enumerate(waits):
            for first in needed:
                followers[first].append(number)
        missing = [len(needed) for needed in waits]
        ready = [number for number, count in enumerate(missing) if not count]
        while ready:
            number = ready.pop()
            for first in waits[number]:
                group.steps[number].before |= group.steps[first].before | (1 << first)
            for follower in followers[number]:
                missing[follower] -= 1
                if not missing[follower]:
                    ready.append(follower)
        stuck = {number for number, count in enumerate(missing) if count}
        if stuck:
            way = circle(waits, stuck)
            step = group.steps[way[0]]
            place = step.needs[0][0] if step.needs else step.node.place
            names = [self._name(group.steps[number]) for number in way]
            if len(way) == 1:
                self._report(place, f"step {names[0]} needs itself; remove it from its needs")
            else:
                shortened = [*names[:4], "…", *names[-2:]] if len(names) > 8 else names
                told = " → ".join([*shortened, names[0]])
                self._report(place, f"steps wait for each other in a circle: {told}; remove one of these needs")

    def _name(self, step: NamedStep) -> str:
        return step.id.text[:64] if step.id else "without an id"

    def _answer_ids(self) -> frozenset[str]:
        steps = (*self._main.steps, *self._final.steps)
        return frozenset(answer.id.text for step in steps for answer in step.answers if answer.id is not None)

    def _answer(self, answer: NamedStep) -> None:
        """A step of an `on_failure`: they run in their order, and nothing waits for them."""
        for key, why in (
            ("needs", "the steps of `on_failure` run one after the other; remove it"),
            ("on_failure", "a step of an `on_failure` has none of its own; remove it"),
        ):
            if key in answer.node.entries:
                self._report(answer.node.key_place(key), why)
        self._step(answer.node, None)

    def _step(self, node: tree.Mapping, here: tuple[NamedSteps, int] | None) -> None:
        for path in _DURATION_KEYS:
            owner: tree.Node | None = node
            for key in path:
                owner = owner.get(key) if isinstance(owner, tree.Mapping) else None
            if isinstance(owner, tree.Mapping):
                self._durations(owner, path)
        self._condition(node, here)
        self._environment(node, self._known, here)
        for key in ("workdir", "user"):
            if isinstance(value := node.get(key), tree.Scalar):
                self._template(value, self._known, here)
        self._workdir(node)
        self._script(node, here)
        for setting, type in single_values(node):
            if "${{" in setting.text:
                self._template(setting, self._known, here)
            if type is DURATION:
                self._bare(setting)
        self._retry(node)

    def _condition(self, node: tree.Mapping, here: tuple[NamedSteps, int] | None) -> None:
        value = node.get("if")
        if not isinstance(value, tree.Scalar) or not self._few(value):
            return
        parts = expressions.find(value.text)
        source = expressions.whole(value.text)
        if not parts:
            self._expression(value.text, value.place, self._known, here)
        elif source is not None:
            self._expression(source, value.places("${{", 1)[0], self._known, here)
        elif all(part.closed for part in parts):
            self._report(value.place, "the condition must be inside one ${{ }}; with text around, it would always hold")
        else:
            self._template(value, self._known, here)

    def _environment(self, owner: tree.Mapping, known: expressions.Known, here: tuple[NamedSteps, int] | None) -> None:
        env = owner.get("env")
        if not isinstance(env, tree.Mapping):
            return
        for name, (key, value) in env.entries.items():
            if name.startswith(RESERVED_ENV):
                self._report(
                    key.place, f"variables that begin with {RESERVED_ENV} are the agent's own; choose another name"
                )
            if isinstance(value, tree.Scalar):
                self._template(value, known, here)

    def _template(self, value: tree.Scalar, known: expressions.Known, here: tuple[NamedSteps, int] | None) -> None:
        if not self._few(value):
            return
        parts = expressions.find(value.text)
        for part, place in zip(parts, value.places("${{", len(parts)), strict=True):
            if not part.closed:
                self._report(place, _unclosed(value))
            else:
                self._expression(part.source, place, known, here)

    def _few(self, value: tree.Scalar) -> bool:
        """Whether a text has no more expressions than one may; reports it where not."""
        count = value.text.count("${{")
        if count > scripts.MAX_EXPRESSIONS:
            most = scripts.MAX_EXPRESSIONS
            self._report(value.place, f"there are {count} expressions in this text; at most {most} are allowed")
        return count <= scripts.MAX_EXPRESSIONS

    def _expression(
        self, source: str, place: tree.Place, known: expressions.Known, here: tuple[NamedSteps, int] | None
    ) -> None:
        self._count += 1
        self._size += len(source)
        if self._count > MAX_EXPRESSIONS or self._size > MAX_EXPRESSION_TEXT:
            if not self._full:
                most = f"{MAX_EXPRESSIONS} expressions, or {MAX_EXPRESSION_TEXT} characters of them"
                self._report(place, f"the pipeline has more than {most}; split it")
            self._full = True
            return
        for finding in expressions.lint(source, known):
            self._report(place, finding.message, suggestion=finding.suggestion)
        if here is None:
            return
        group, number = here
        for name in sorted(expressions.steps_of(source)):
            referred = group.index.get(name)
            if group is self._main and name in self._final.index:
                self._report(place, f"step {shown(name)} is one of `finally`, which has not run yet here", warning=True)
            elif referred is not None and not group.steps[number].before >> referred & 1:
                message = (
                    f"step {shown(name)} may not have ended when this is read, and is empty then; add it to `needs`"
                )
                self._report(place, message, warning=True)

    def _workdir(self, node: tree.Mapping) -> None:
        value = node.get("workdir")
        if isinstance(value, tree.Scalar) and ".." in expressions.blank(value.text).split("/"):
            self._report(
                value.place, f"the path {shown(value.text)} has `..` in it; write the folder itself, without it"
            )

    def _script(self, node: tree.Mapping, here: tuple[NamedSteps, int] | None) -> None:
        shell_node = node.get("shell")
        self._command(node.get("run"), shell_node.text if isinstance(shell_node, tree.Scalar) else "", here)
        stop = node.get("stop")
        if isinstance(stop, tree.Mapping):
            self._command(stop.get("command"), "", here)

    def _command(self, run: tree.Node | None, shell: str, here: tuple[NamedSteps, int] | None) -> None:
        match run:
            case tree.Scalar():
                if shell == "none":
                    self._report(run.place, "with `shell: none` the command is a list, like [ls, -l]")
                    return
                self._template(run, self._known, here)
                if shell in ("", "sh", "bash", "python") and run.text.count("${{") <= scripts.MAX_EXPRESSIONS:
                    problems = scripts.compile_script(shell or "sh", run.text).problems
                    places = run.places("${{", len(expressions.find(run.text))) if problems else []
                    for problem in problems:
                        if not problem.unclosed:
                            place = places[problem.number] if places else run.place
                            self._report(place, problem.message, warning=problem.warning)
            case tree.Sequence():
                if shell not in ("", "none"):
                    message = (
                        f"a list is a command without a shell; write a text for `shell: {shell[:16]}`, or `shell: none`"
                    )
                    self._report(run.place, message)
                for item in run.items:
                    if isinstance(item, tree.Scalar):
                        self._template(item, self._known, here)
            case _:
                pass

    def _retry(self, node: tree.Mapping) -> None:
        retry = node.get("retry")
        kinds = retry.get("on") if isinstance(retry, tree.Mapping) else None
        idempotent, uses = node.get("idempotent"), node.get("uses")
        if isinstance(idempotent, tree.Scalar) and idempotent.value is True:
            return
        if isinstance(uses, tree.Scalar) and (uses.text not in KINDS or KINDS[uses.text].idempotent):
            return
        for kind in kinds.items if isinstance(kinds, tree.Sequence) else (kinds,):
            if isinstance(kind, tree.Scalar) and kind.text == "lost":
                message = (
                    "a lost step may have run, so retrying it needs `idempotent: true` (running it twice does no harm)"
                )
                self._report(kind.place, message)

    def _durations(self, owner: tree.Mapping, path: tuple[str, ...]) -> None:
        for key in _DURATION_KEYS[path]:
            self._bare(owner.get(key))

    def _parameter_durations(self) -> None:
        params = self._root.get("params")
        for _, param in params.entries.values() if isinstance(params, tree.Mapping) else ():
            kind = param.get("type") if isinstance(param, tree.Mapping) else None
            if isinstance(param, tree.Mapping) and isinstance(kind, tree.Scalar) and kind.text == "duration":
                for key in ("min", "max", "default"):
                    self._bare(param.get(key))

    def _bare(self, value: tree.Node | None) -> None:
        if isinstance(value, tree.Scalar) and is_bare_number(value.text):
            self._report(
                value.place, f"a duration without a unit is read as seconds; write {value.text}s", warning=True
            )


def _keys(node: tree.Node | None) -> frozenset[str]:
    return frozenset(node.entries) if isinstance(node, tree.Mapping) else frozenset()


def _unclosed(value: tree.Scalar) -> str:
    hint = "" if value.quoted else "; if the expression has ` #` or `: ` in it, quote the whole value"
    return f"the ${{{{ has no }}}}{hint}"
