"""The form that starts a pipeline: what, with which parameters, on which nodes; and what that would do, before it does.

Nothing starts before the preview was shown.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, cast

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widget import Widget
from textual.widgets import Button, Input, Label, OptionList, Select, Static
from textual.widgets.option_list import Option

from gamenode_console import texts
from gamenode_console.model import blast, form
from gamenode_console.screens.confirm import Confirm
from gamenode_pipelines.errors import GameNodeError
from gamenode_proto.v1.pipeline_management_pb2 import GetPipelineResponse, RenderPipelineResponse, RunPipelineRequest

if TYPE_CHECKING:
    from gamenode_console.app import ConsoleApp


class Trigger(ModalScreen[None]):
    """First which pipeline, then its form, then the preview."""

    DEFAULT_CSS = """
    Trigger { align: center middle; }
    Trigger > Vertical { width: 100; max-width: 98%; height: auto; max-height: 96%; border: round $accent;
        background: $surface; padding: 0 1; }
    Trigger VerticalScroll { height: auto; max-height: 100%; }
    Trigger Label { width: 1fr; height: auto; }
    Trigger .name { text-style: bold; }
    Trigger .problem { color: $text-error; height: auto; display: none; }
    Trigger Input, Trigger Select { margin: 0; }
    Trigger Horizontal { height: auto; align-horizontal: right; }
    Trigger Button { margin: 0 0 0 2; }
    Trigger OptionList { height: auto; max-height: 16; border: none; background: $surface; }
    Trigger #preview { height: auto; }
    """

    #: Before the field gets the key: what is typed right behind it is already for the next field.
    BINDINGS = [
        Binding("tab", "app.focus_next", "next field", priority=True, show=False),
        Binding("shift+tab", "app.focus_previous", "previous field", priority=True, show=False),
    ]

    def __init__(self, pipeline: str, nodes: Sequence[str]) -> None:
        super().__init__()
        self._pipeline = pipeline
        self._given_nodes = ",".join(nodes)
        self._fields: list[form.Field] = []
        self._previewed: RunPipelineRequest | None = None
        #: Every field is there; some tell of their first value before that.
        self._whole = False

    @property
    def _gamenode(self) -> ConsoleApp:
        return cast("ConsoleApp", self.app)

    def compose(self) -> ComposeResult:
        """An empty box, filled as it goes on."""
        with Vertical() as box:
            box.border_title = "Start a pipeline"
            box.border_subtitle = "tab next field · enter preview, then start · esc closes"
            yield VerticalScroll(Label("asking the server", markup=False), id="page")

    def on_mount(self) -> None:
        """Asks for the pipeline, or which there are."""
        self._gamenode.work(partial(self._open, self._pipeline) if self._pipeline else self._choose, group="trigger")

    async def _choose(self) -> None:
        found = await self._gamenode.core.ask(lambda gateway: gateway.pipelines.list())
        options = [
            Option(f"{each.pipeline.name}  {texts.one_line(each.pipeline.description)}", id=each.pipeline.name)
            for each in found
        ]
        page = self.query_one("#page")
        await page.remove_children()
        if not options:
            await page.mount(Label("There are no pipelines: `gamenode pipeline apply FILE` stores one.", markup=False))
            return
        choice = OptionList(*options, markup=False)
        await page.mount(Label("Which one?", classes="name", markup=False), choice)
        choice.focus()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Opens the form of the chosen one."""
        if event.option.id is not None:
            self._pipeline = event.option.id
            self._gamenode.work(partial(self._open, event.option.id), group="trigger")

    async def _open(self, name: str) -> None:
        try:
            found = await self._gamenode.core.ask(lambda gateway: gateway.pipelines.get(name))
        except GameNodeError as error:
            page = self.query_one("#page")
            await page.remove_children()
            await page.mount(Label(error.message, classes="problem", markup=False))
            return
        await self._show(found)

    async def _show(self, found: GetPipelineResponse) -> None:
        self._fields = form.fields(found.parameters)
        page = self.query_one("#page")
        await page.remove_children()
        pipeline = found.pipeline
        head = f"{pipeline.name} v{pipeline.version}  {texts.one_line(pipeline.description)}"
        widgets: list[Widget] = [
            Label(head, classes="name", markup=False),
            Label("nodes  names, selectors like role=game, or *; empty: as the pipeline says", markup=False),
            Input(self._given_nodes, id="nodes", compact=True),
        ]
        for field in self._fields:
            hint = f"  ({field.hint})" if field.hint else ""
            widgets += [
                Label(f"{field.name}  {texts.one_line(field.description)}{hint}", markup=False),
                self._input(field),
                Label("", id=f"wrong-{field.name}", classes="problem", markup=False),
            ]
        widgets += [
            Static("", id="preview", markup=False),
            Horizontal(Button("Close", id="close"), Button("Preview", id="preview-it"), Button("Start", id="start")),
        ]
        with self.app.batch_update():  # the next key is for the form, as soon as it is seen
            await page.mount_all(widgets)
            self._whole = True
            self.set_focus(page.query(Input).first())

    def _input(self, field: form.Field) -> Input | Select[str]:
        if field.choices:
            return Select(
                [(choice, choice) for choice in field.choices],
                value=field.default if field.default in field.choices else Select.NULL,
                id=f"p-{field.name}",
                compact=True,
            )
        return Input(field.default, id=f"p-{field.name}", password=field.secret, compact=True)

    # -- while it is filled in ----------------------------------------------------------------------------------------

    def _typed(self) -> dict[str, str]:
        found = {}
        for field in self._fields:
            widget = self.query_one(f"#p-{field.name}")
            if isinstance(widget, Select):
                found[field.name] = "" if widget.is_blank() else str(widget.value)
            elif isinstance(widget, Input):
                found[field.name] = widget.value
        return found

    def _problems(self) -> dict[str, str]:
        typed = self._typed()
        return {field.name: said for field in self._fields if (said := form.problem(field, typed[field.name]))}

    def on_input_changed(self, event: Input.Changed) -> None:
        """Says at once what is wrong; a preview of something else is no preview."""
        self._edited()

    def on_select_changed(self, event: Select.Changed) -> None:
        """The same for what is chosen."""
        self._edited()

    def _edited(self) -> None:
        if not self._whole:
            return
        self._previewed = None
        problems = self._problems()
        for field in self._fields:
            wrong = self.query_one(f"#wrong-{field.name}", Label)
            wrong.update(problems.get(field.name, ""))
            wrong.display = field.name in problems

    def on_input_submitted(self) -> None:
        """Enter shows the preview; once it was shown, enter starts it."""
        self._go_on()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Close, preview or start."""
        if event.button.id == "close":
            self.dismiss(None)
        elif event.button.id == "preview-it":
            self._gamenode.work(self._preview, group="trigger")
        else:
            self._go_on()

    def _go_on(self) -> None:
        if not self._whole:
            return
        self._gamenode.work(self._start if self._previewed is not None else self._preview, group="trigger")

    def on_key(self, event: events.Key) -> None:
        """Escape closes."""
        if event.key == "escape":
            event.stop()
            self.dismiss(None)

    # -- what it would do, and doing it -------------------------------------------------------------------------------

    def _request(self) -> RunPipelineRequest:
        names, selectors, every = targets(self.query_one("#nodes", Input).value)
        return RunPipelineRequest(
            name=self._pipeline,
            params=form.given(self._fields, self._typed()),
            nodes=names,
            selectors=selectors,
            all=every,
        )

    async def _preview(self) -> None:
        shown = self.query_one("#preview", Static)
        if problems := self._problems():
            shown.update("; ".join(f"{name}: {said}" for name, said in problems.items()))
            return
        request = self._request()
        try:
            rendered = await self._gamenode.core.ask(lambda gateway: gateway.pipelines.render(request))
        except GameNodeError as error:
            shown.update(error.message)
            return
        shown.update("\n".join(preview(rendered)))
        self._previewed = request
        shown.scroll_visible()

    async def _start(self) -> None:
        request = self._previewed
        assert request is not None
        rendered = await self._gamenode.core.ask(lambda gateway: gateway.pipelines.render(request))
        names = [choice.node for choice in rendered.nodes if choice.chosen]
        fleet = len(self._gamenode.world.nodes)
        if blast.level(len(names), fleet) >= 2:
            question = blast.on_nodes(f"Start {self._pipeline}?", "Start it", names, fleet=fleet)
            if not await self.app.push_screen_wait(Confirm(question)):
                return
        request.request_id = secrets.token_hex(8)
        document = await self._gamenode.core.ask(lambda gateway: gateway.pipelines.run(request))
        self.dismiss(None)
        self._gamenode.tell(f"started run {document.run.id} on {len(document.tasks)} node(s)")
        self._gamenode.operations.open_run(document.run.id)


def targets(text: str) -> tuple[list[str], list[str], bool]:
    """Node names, selectors, and whether every node is meant, as they were typed."""
    names: list[str] = []
    selectors: list[str] = []
    for word in text.replace(",", " ").split() if "(" not in text else [text]:
        if word == "*":
            return [], [], True
        if any(sign in word for sign in "=!(<>"):
            selectors.append(word)
        else:
            names.append(word)
    return names, [",".join(selectors)] if selectors else [], False


def preview(rendered: RenderPipelineResponse) -> list[str]:
    """What would run and where, in lines."""
    chosen = [choice.node for choice in rendered.nodes if choice.chosen]
    left_out = [choice for choice in rendered.nodes if not choice.chosen]
    lines = [f"would run on {len(chosen)} node(s): {blast.listed(chosen)}" if chosen else "would run nowhere"]
    lines += [f"  not {texts.one_line(each.node)}: {texts.one_line(each.reason)}" for each in left_out[:4]]
    steps = [step.id for step in rendered.plan.steps]
    lines.append(f"{len(steps)} steps: {', '.join(steps)}")
    if chosen:
        lines.append("enter starts it")
    return lines
