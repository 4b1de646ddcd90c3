"""The JSON Schema of pipeline files, for editors, and what each key is for.

Made from the spec, so that it cannot say anything else. Editors get shapes and words; names that refer to each other
and expressions are checked by `gamenode pipeline lint`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_pipelines.kinds import KINDS
from gamenode_pipelines.spec import PipelineSpec, StepSpec
from gamenode_pipelines.wording import nearest, shown

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


@cache
def json_schema() -> dict[str, Any]:
    """The schema of one document."""
    schema = _tidy(PipelineSpec.model_json_schema(by_alias=True))
    definitions = schema["$defs"]
    for kind in KINDS.values():
        definitions[kind.name] = {**kind.record.schema(), "description": kind.summary}
    for name in ("schedule", "on"):  # one may stand alone
        several = schema["properties"][name]
        items = {key: several.pop(key) for key in ("type", "items", "maxItems") if key in several}
        several["anyOf"] = [items["items"], items]
    step = definitions[StepSpec.__name__]
    step["oneOf"] = [{"required": ["run"]}, {"required": ["uses"]}]
    step["allOf"] = [
        {
            "if": {"properties": {"uses": {"const": name}}, "required": ["uses"]},
            "then": {
                "properties": {"with": {"$ref": f"#/$defs/{name}"}},
                **({"required": ["with"]} if definitions[name].get("required") else {}),
            },
        }
        for name in KINDS
    ]
    return {"$schema": DIALECT, "title": "GameNode pipeline", **schema}


def _tidy(node: Any, *, names: bool = False) -> Any:
    """Without titles made from names, and without "or null": a key of a file has a value or is left out.

    `names` says that the keys of this mapping are keys of a file.
    """
    if isinstance(node, list):
        return [_tidy(item) for item in node]
    if not isinstance(node, dict):
        return node
    if names:
        return {key: _tidy(value) for key, value in node.items()}
    tidy = {
        key: _tidy(value, names=key in ("properties", "$defs"))
        for key, value in node.items()
        if key != "title" and not (key == "default" and value is None)
    }
    if "anyOf" in tidy:
        options = [option for option in tidy.pop("anyOf") if option != {"type": "null"}]
        tidy = {**options[0], **tidy} if len(options) == 1 else {**tidy, "anyOf": options}
    return tidy


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a key is for. `keys` has what is below it, each with its first line."""

    path: str
    type: str
    description: str
    required: bool
    default: str
    keys: Mapping[str, str]


def explain(path: str = "") -> Explanation:
    """What stands at a dotted path such as `steps.retry`; of the whole file where it is empty.

    Raises GameNodeError(NOT_FOUND) with the nearest key where there is none.
    """
    schema = json_schema()
    node: Mapping[str, Any] = schema
    described: Mapping[str, Any] = {"description": schema.get("description", "")}
    required = True
    default = ""
    for name in filter(None, path.split(".")):
        properties = _properties(node)
        if name not in properties:
            close = nearest(name, properties)
            hint = f"; did you mean {close!r}?" if close else ""
            raise GameNodeError(Code.NOT_FOUND, f"pipeline files have no key {shown(path)}{hint}")
        required = name in _resolved(node).get("required", ())
        described = properties[name]
        default = "" if described.get("default") in (None, "", [], {}) else str(described["default"])
        node = described
    keys = {name: str(value.get("description", "")) for name, value in _properties(node).items()}
    return Explanation(path, _type(node), str(described.get("description", "")), required, default, keys)


def _resolved(node: Mapping[str, Any]) -> Mapping[str, Any]:
    """The mapping a node stands for: through references, "or nothing", lists and mappings by name."""
    while True:
        if "$ref" in node:
            node = json_schema()["$defs"][node["$ref"].rpartition("/")[2]]
        elif any("$ref" in option for option in node.get("anyOf", ())):
            node = next(option for option in node["anyOf"] if "$ref" in option)
        elif "$ref" in (items := node.get("items", {})):
            node = items
        elif "$ref" in (values := node.get("additionalProperties") or {}):
            node = values
        else:
            return node


def _properties(node: Mapping[str, Any]) -> Mapping[str, Any]:
    properties: Mapping[str, Any] = _resolved(node).get("properties", {})
    return properties


def _type(node: Mapping[str, Any]) -> str:
    """A word or two for what a value is."""
    if "$ref" in node:
        return _type(_resolved(node))
    if words := node.get("enum"):
        return " | ".join(str(word) for word in words)
    if options := [option for option in node.get("anyOf", ()) if option != {"type": "null"}]:
        return " or ".join(dict.fromkeys(_type(option) for option in options))
    if "const" in node:
        return str(node["const"])
    match node.get("type"):
        case "array":
            return f"list of {_type(node.get('items', {}))}"
        case "object":
            return "mapping"
        case list() as types:
            return " or ".join(types)
        case str() as type:
            return type
        case _:
            return "value"
