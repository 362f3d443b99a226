"""What is wrong with a configuration, key by key, and what a key means."""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from physgen.errors import InputError

Model = type[BaseModel]


def sections_of(field: FieldInfo) -> list[Model]:
    """The section that a key holds, or each of those that it may hold (told apart by their ``kind``); else empty."""
    kind = field.annotation
    options = typing.get_args(kind) if typing.get_origin(kind) in (typing.Union, types.UnionType) else (kind,)
    found = [option for option in options if isinstance(option, type) and issubclass(option, BaseModel)]
    return found if len(found) == len(options) else []


def kind_of(section: Model) -> str | None:
    """The ``kind`` that a section stands for, where there are several."""
    field = section.model_fields.get("kind")
    words = typing.get_args(field.annotation) if field else ()
    return str(words[0]) if len(words) == 1 else None


def fields_at(model: Model, path: Sequence[Any]) -> dict[str, FieldInfo]:
    """The keys of the section at a path; those of all its kinds, unless the path names the kind as pydantic does."""
    sections = [model]
    for key in path:
        chosen = [one for one in sections if len(sections) > 1 and kind_of(one) == key]
        if not chosen:
            chosen = [s for one in sections if key in one.model_fields for s in sections_of(one.model_fields[key])]
        if not chosen:
            break
        sections = chosen
    return {name: field for one in sections for name, field in one.model_fields.items()}


def walk_keys(model: Model, prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Every key that holds a value, dotted; those of each kind of a section."""
    met: set[str] = set()
    for name, field in model.model_fields.items():
        sections = sections_of(field)
        keys = [pair for one in sections for pair in walk_keys(one, f"{prefix}{name}.")] if sections else []
        for key, found in keys or [(f"{prefix}{name}", field)]:
            if key not in met:
                met.add(key)
                yield key, found


# --- errors -----------------------------------------------------------------------------------------


def explain_errors(error: ValidationError, model: Model, source: str) -> str:
    """All errors of a configuration, one a line, each with its key and its remedy."""
    lines = [_line(item, model) for item in error.errors()]
    count = f"{len(lines)} errors" if len(lines) > 1 else "1 error"
    return f"{source} has {count}:\n  " + "\n  ".join(lines)


def _line(item: ErrorDetails, model: Model) -> str:
    path, kind = _without_kind(model, item["loc"])
    where = ".".join(map(str, path))
    if item["type"] == "extra_forbidden":
        return f"{where}: {_unknown(model, item['loc'], path, kind)}"
    if item["type"] in ("union_tag_not_found", "union_tag_invalid"):
        kinds = item.get("ctx", {}).get("expected_tags") or ", ".join(
            repr(kind_of(one)) for one in sections_of(fields_at(model, path[:-1])[str(path[-1])])
        )
        return f"{where}.kind: say which kind; choose one of {kinds}"
    message = item["msg"].removeprefix("Value error, ").rstrip(".")
    given = "" if item["type"] in ("missing", "value_error") else f", got {item['input']!r}"
    return f"{where}: {message[0].lower() + message[1:]}{given}".removeprefix(": ")


def _without_kind(model: Model, loc: Sequence[Any]) -> tuple[list[Any], str | None]:
    """The path of a key as it is written: pydantic puts the kind of a section behind its name."""
    path: list[Any] = []
    kind = None
    for i, key in enumerate(loc):
        field = fields_at(model, loc[: i - 1]).get(str(loc[i - 1])) if i else None
        if field is not None and len(sections_of(field)) > 1 and key in map(kind_of, sections_of(field)):
            kind = str(key)
        else:
            path.append(key)
    return path, kind


def _unknown(model: Model, loc: Sequence[Any], path: Sequence[Any], kind: str | None) -> str:
    """Why a key is unknown: misspelt, of another kind of the section, of another section."""
    leaf, known = str(path[-1]), fields_at(model, loc[:-1])
    section = ".".join(map(str, path[:-1]))
    if kind is not None and leaf in fields_at(model, path[:-1]):
        owner = fields_at(model, path[:-2])[str(path[-2])]
        others = [kind_of(one) for one in sections_of(owner) if leaf in one.model_fields]
        return (
            f"has no effect for kind {kind!r}; remove it, or set the whole section, e.g. "
            f"{section}='{{kind: {others[0]}, {leaf}: ...}}'"
        )
    close = difflib.get_close_matches(leaf, known, n=1)
    if close:
        return f"unknown key; did you mean {close[0]!r}?"
    elsewhere = [key for key, _ in walk_keys(model) if key.split(".")[-1] == leaf]
    if elsewhere:
        return f"unknown key; did you mean {elsewhere[0]}?"
    return f"unknown key; known keys: {', '.join(known)}"


# --- meaning ----------------------------------------------------------------------------------------


def describe_key(model: Model, key: str) -> str:
    """What one dotted key means: type, default and description. Raises InputError for an unknown key."""
    *sections, leaf = key.split(".")
    known = fields_at(model, sections)
    if leaf not in known:
        raise InputError(f"{key}: {_unknown(model, [*sections, leaf], [*sections, leaf], None)}")
    item = known[leaf]
    inside = sections_of(item)
    if inside:
        meaning = inside[0].__doc__ if len(inside) == 1 else item.description
        lines = [
            f"  {key}.{name}: {field.description or ''}".rstrip()
            for one in inside
            for name, field in one.model_fields.items()
        ]
        return f"{key}: a section. {meaning or ''}\n" + "\n".join(dict.fromkeys(lines))
    kind = item.annotation
    shown = kind.__name__ if isinstance(kind, type) and not isinstance(kind, types.GenericAlias) else str(kind)
    said = f"{key}: {shown.replace('typing.', '')}, default {item.default!r}. {item.description or ''}".rstrip()
    extra = item.json_schema_extra
    only = isinstance(extra, dict) and extra.get("execution")
    return f"{said} (execution alone: the result does not depend on it)" if only else said
