# Copyright: svirt.fleet contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Typed data to JSON objects and back, with bounds: what comes back may be from a compromised host.

Both directions run also on hosts (Python 3.9): the watch reads the report that it built.

PRIVATE: this file belongs to the svirt.fleet collection and can change or break at any time.
"""

from __future__ import annotations

import functools
import re
import types
import typing as t
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass

from ..errors import SchemaError
from ..utf8 import clean_text
from .field_types import field_types
from .model import AREAS, MAX_TEXT, SCHEMA, Snapshot

#: Bounds on what a document may hold.
MAX_ITEMS = 200_000
#: Inode numbers are the largest.
MAX_NUMBER = 2**64

#: Lists and objects inside one another, in values of any kind.
MAX_DEPTH = 20

T = t.TypeVar("T")
#: Where a value is: the document's name, or what it is part of with its own name or number. Text only for errors.
_Path = t.Union[str, tuple[t.Any, t.Union[str, int]]]
#: What a union is: Python 3.10 brought the second.
_UNIONS = (t.Union, getattr(types, "UnionType", t.Union))
#: A value of any kind that JSON has. A field's metadata may hold "key" (its name in the document), "choices",
#: "pattern", and "optional" (it may be left out, and is None then).
Json = t.NewType("Json", object)


class Additive:
    """Base of types whose documents may get more fields in later versions: unknown fields are left out."""


def encode(value: t.Any) -> t.Any:
    """The JSON form of typed data: dataclasses become objects, tuples lists, and all text fits UTF-8."""
    if isinstance(value, str):
        return clean_text(value)
    if is_dataclass(value):
        return {item.name: encode(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, dict):
        return {encode(key): encode(item) for key, item in sorted(value.items())}
    if isinstance(value, (list, tuple)):
        return [encode(item) for item in value]
    return value


def decode_snapshot(document: t.Any) -> Snapshot:
    """A snapshot from its JSON form. Raises SchemaError with the path of what does not fit."""
    seen = document.get("schema") if isinstance(document, dict) else type(document).__name__
    if seen != SCHEMA:
        raise SchemaError(f"not a snapshot: schema is {str(seen)[:80]!r}, this version reads {SCHEMA!r}")
    snapshot = decode(Snapshot, document, "snapshot")
    missing = [area for area in AREAS if area not in snapshot.coverage]
    if missing:
        raise SchemaError(f"snapshot.coverage lacks {', '.join(missing)}; a probe always says what it looked at")
    return snapshot


def decode(kind: type[T], document: t.Any, path: str) -> T:
    """A dataclass from its JSON form; unknown, missing and wrongly typed fields raise SchemaError."""
    return t.cast(T, _object(kind, document, path))


def key_of(member: Field[t.Any]) -> str:
    """The field's name in a document."""
    return member.metadata.get("key") or member.name


_Read = t.Callable[[t.Any, t.Any, _Path], t.Any]
#: Whether None is a value of a type, what reads any other, and the type for which it is called.
_Reader = tuple[bool, _Read, t.Any]


@dataclass(frozen=True)
class _Member:
    """What a document may have in a field."""

    name: str
    reader: _Reader
    choices: t.Sequence[str] | None
    pattern: str | None
    #: It may be missing, and its default or None counts then.
    has_default: bool
    optional: bool


@functools.cache
def _members(kind: type) -> dict[str, _Member]:
    hints = field_types(kind)
    return {
        key_of(item): _Member(
            item.name,
            _reader(hints[item.name]),
            item.metadata.get("choices"),
            item.metadata.get("pattern"),
            item.default is not MISSING or item.default_factory is not MISSING,
            bool(item.metadata.get("optional")),
        )
        for item in fields(kind)
    }


def _place(path: _Path) -> str:
    parts: list[str] = []
    while isinstance(path, tuple):
        path, last = path
        parts.append(f"[{last}]" if isinstance(last, int) else f".{last[:80]}")
    return path + "".join(reversed(parts))


def _object(kind: type, document: t.Any, path: _Path) -> t.Any:
    if not isinstance(document, dict):
        raise SchemaError(f"{_place(path)}: expected an object, found {_shown(document)}")
    members = _members(kind)
    for name in () if issubclass(kind, Additive) else document:
        if name not in members:
            raise SchemaError(f"{_place(path)}: unknown field {str(name)[:80]!r}")
    values: dict[str, t.Any] = {}
    for name, member in members.items():
        if name in document:
            value = document[name]
            may_be_none, read, inner = member.reader
            if value is not None or not may_be_none:
                value = read(inner, value, (path, name))
            if member.choices or member.pattern:
                _limited(member, value, (path, name))
            values[member.name] = value
        elif not member.has_default:
            if not member.optional:
                raise SchemaError(f"{_place(path)}: field {name!r} is missing", "missing_field")
            values[member.name] = None
    return kind(**values)


def _limited(member: _Member, value: t.Any, path: _Path) -> None:
    if member.choices and value is not None and value not in member.choices:
        text = f"{_place(path)}: expected one of {', '.join(member.choices)}, found {_shown(value)}"
        raise SchemaError(text, "bad_choice")
    if member.pattern and value is not None and not re.search(member.pattern, value):
        raise SchemaError(f"{_place(path)}: {_shown(value)} does not match {member.pattern}", "bad_text")


@functools.cache
def _reader(hint: t.Any) -> _Reader:
    """Whether None is a value of the type, what reads any other, and the type for which it is called."""
    origin, arms = t.get_origin(hint), t.get_args(hint)
    if origin in _UNIONS:
        _none, read, inner = _reader(next(arm for arm in arms if arm is not type(None)))
        return type(None) in arms, read, inner
    if origin is list:
        return False, _list, arms[0]
    if origin is dict:
        return False, _dict, arms[1]
    special = {t.Any: _plain, Json: _json}.get(hint)
    if special is not None:
        return False, special, hint
    return False, _object if is_dataclass(hint) else _scalar, hint


def _list(hint: t.Any, value: t.Any, path: _Path) -> list[t.Any]:
    if not isinstance(value, list) or len(value) > MAX_ITEMS:
        raise SchemaError(f"{_place(path)}: expected a list of at most {MAX_ITEMS}, found {_shown(value)}")
    may_be_none, read, inner = _reader(hint)
    return [
        None if item is None and may_be_none else read(inner, item, (path, index)) for index, item in enumerate(value)
    ]


def _dict(hint: t.Any, value: t.Any, path: _Path) -> dict[str, t.Any]:
    if not isinstance(value, dict) or len(value) > MAX_ITEMS:
        raise SchemaError(f"{_place(path)}: expected an object of at most {MAX_ITEMS}, found {_shown(value)}")
    may_be_none, read, inner = _reader(hint)
    return {
        _scalar(str, key, path): None if item is None and may_be_none else read(inner, item, (path, str(key)))
        for key, item in value.items()
    }


def _scalar(hint: t.Any, value: t.Any, path: _Path) -> t.Any:
    if hint is str and isinstance(value, str) and len(value) <= MAX_TEXT:  # nearly all values
        return value if value.isascii() else clean_text(value)
    fits = isinstance(value, (int, float)) if hint is float else isinstance(value, hint)
    if not fits or (isinstance(value, bool) and hint is not bool):
        raise SchemaError(f"{_place(path)}: expected {hint.__name__}, found {_shown(value)}")
    if isinstance(value, str) and len(value) > MAX_TEXT:
        raise SchemaError(f"{_place(path)}: a text of {len(value)} characters is longer than {MAX_TEXT}")
    if isinstance(value, (int, float)) and not -MAX_NUMBER <= value <= MAX_NUMBER:  # so is no number (nan)
        raise SchemaError(f"{_place(path)}: a number out of range")
    return clean_text(value) if isinstance(value, str) else value


def _plain(_hint: t.Any, value: t.Any, path: _Path) -> t.Any:
    if isinstance(value, list):
        return [_scalar(str, item, (path, index)) for index, item in enumerate(value)]
    if isinstance(value, (str, int)) and not isinstance(value, bool):
        return _scalar(type(value), value, path)
    raise SchemaError(f"{_place(path)}: expected a text, a whole number or a list of texts, found {_shown(value)}")


def _json(_hint: t.Any, value: t.Any, path: _Path) -> t.Any:
    return _nested(value, path, MAX_DEPTH)


def _nested(value: t.Any, path: _Path, depth: int) -> t.Any:
    if isinstance(value, (list, dict)) and (depth == 0 or len(value) > MAX_ITEMS):
        raise SchemaError(f"{_place(path)}: deeper than {MAX_DEPTH} levels or longer than {MAX_ITEMS}", "too_deep")
    if isinstance(value, list):
        return [_nested(item, (path, index), depth - 1) for index, item in enumerate(value)]
    if isinstance(value, dict):
        return {_scalar(str, key, path): _nested(item, (path, str(key)), depth - 1) for key, item in value.items()}
    return value if value is None or isinstance(value, bool) else _scalar(_number_or_text(value), value, path)


def _number_or_text(value: t.Any) -> type:
    return type(value) if isinstance(value, (int, float)) else str


def _shown(value: t.Any) -> str:
    if isinstance(value, (list, dict)):
        return f"{type(value).__name__} of {len(value)}"
    return repr(value)[:80] if not isinstance(value, str) else repr(value[:80])
