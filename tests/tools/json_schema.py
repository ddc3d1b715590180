# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: svirt.fleet contributors
"""JSON Schemas (draft 2020-12) of typed documents, from their dataclasses and the metadata of their fields."""

from __future__ import annotations

import json
import types
import typing as t
from dataclasses import MISSING, Field, fields, is_dataclass

from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot.document import (
    MAX_ITEMS,
    Additive,
    Json,
    key_of,
)
from ansible_collections.svirt.fleet.plugins.module_utils._core.snapshot.model import MAX_TEXT

DRAFT = "https://json-schema.org/draft/2020-12/schema"

Schema = dict[str, t.Any]


def schema_of(root: type, name: str, title: str, constants: t.Mapping[str, str]) -> Schema:
    """The schema of a document. ``constants`` are values that fields of the root always have."""
    definitions: dict[str, Schema] = {}
    _object(root, definitions)
    made = definitions.pop(root.__name__)
    for field, value in constants.items():
        made["properties"][field] = {"description": made["properties"][field]["description"], "const": value}
    made["required"] = list(dict.fromkeys([*constants, *made["required"]]))
    return {
        "$schema": DRAFT,
        "$comment": "Copyright: svirt.fleet contributors. Licence: GPL-3.0-or-later. Written by `make docs`.",
        "title": title,
        **made,
        "description": f"Schema {name}. {made['description']}",
        "$defs": dict(sorted(definitions.items())),
    }


def text(schema: Schema) -> str:
    """The file of a schema."""
    return json.dumps(schema, indent=1)


def _object(kind: type, definitions: dict[str, Schema]) -> Schema:
    if kind.__name__ not in definitions:
        definitions[kind.__name__] = {}  # types that contain themselves end here
        hints = t.get_type_hints(kind)
        members = fields(t.cast(t.Any, kind))
        definitions[kind.__name__] = {
            "description": (kind.__doc__ or "").split("\n")[0],
            "type": "object",
            "properties": {key_of(item): _field(item, hints[item.name], definitions) for item in members},
            "required": [key_of(item) for item in members if _is_required(item)],
            "additionalProperties": issubclass(kind, Additive),
        }
    return {"$ref": f"#/$defs/{kind.__name__}"}


def _is_required(item: Field[t.Any]) -> bool:
    absent = item.default is not MISSING or item.default_factory is not MISSING or item.metadata.get("optional")
    return not absent


def _field(item: Field[t.Any], hint: t.Any, definitions: dict[str, Schema]) -> Schema:
    if item.metadata.get("optional") and type(None) in t.get_args(hint):
        hint = next(arm for arm in t.get_args(hint) if arm is not type(None))  # left out, never null
    schema = {"description": item.metadata["doc"], **_value(hint, definitions)}
    if item.metadata.get("choices"):
        schema["enum"] = list(item.metadata["choices"])
    if item.metadata.get("pattern"):
        schema["pattern"] = item.metadata["pattern"]
    return schema


def _value(hint: t.Any, definitions: dict[str, Schema]) -> Schema:
    origin, arguments = t.get_origin(hint), t.get_args(hint)
    if origin in (t.Union, types.UnionType):
        inner = _value(next(arm for arm in arguments if arm is not type(None)), definitions)
        return {"anyOf": [inner, {"type": "null"}]}
    if origin is list:
        return {"type": "array", "items": _value(arguments[0], definitions), "maxItems": MAX_ITEMS}
    if origin is dict:
        return {"type": "object", "additionalProperties": _value(arguments[1], definitions)}
    if hint is Json:
        return {}
    if hint is t.Any:
        return {"type": ["string", "integer", "array"], "items": {"type": "string"}}
    if is_dataclass(hint):
        return _object(t.cast(type, hint), definitions)
    if hint is str:
        return {"type": "string", "maxLength": MAX_TEXT}
    return {"type": {int: "integer", float: "number", bool: "boolean"}[hint]}
