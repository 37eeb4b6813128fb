"""Turns what pydantic found wrong into problems with file, line, key and the nearest valid key."""

from __future__ import annotations

import types
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from dyna_graph.config.source import KeyPath, Source, dotted
from dyna_graph.errors import Problem, nearest, suggestion

_EXPECTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "text",
    "list_type": "a list",
    "mapping_type": "'key: value' settings",
    "dict_type": "'key: value' settings",
    "model_type": "'key: value' settings",
    "model_attributes_type": "'key: value' settings",
    "finite_number": "a finite number",
}
_BOUNDS = {
    "greater_than_equal": "at least",
    "greater_than": "more than",
    "less_than_equal": "at most",
    "less_than": "less than",
}


def explain(error: ValidationError, model: type[BaseModel], source: Source) -> list[Problem]:
    """Return one problem for each thing that pydantic found wrong.

    Args:
        error: What pydantic raised.
        model: The model that was validated.
        source: Where the values came from.
    """
    problems = []
    for details in error.errors(include_url=False):
        loc = tuple(details["loc"])
        path = _in_file(loc, source.data)
        if details["type"] == "missing":
            path = (*path, loc[-1])
        if details["type"] != "extra_forbidden" and any(
            path[: len(unset)] == unset for unset in source.unset
        ):
            continue
        message = _message(dict(details), loc, path, model, source)
        problems.append(Problem(message, source.file, source.line(path), dotted(path)))
    return problems


def _in_file(loc: KeyPath, data: Any) -> KeyPath:
    """Leave out of pydantic's location what is not in the file: tags of unions and keys that a short form
    implies."""
    path: list[str | int] = []
    for part in loc:
        inside = (
            part in data
            if isinstance(data, dict)
            else (isinstance(data, list) and isinstance(part, int) and part < len(data))
        )
        if inside:
            path.append(part)
            data = data[part]
    return tuple(path)


def _message(
    details: Mapping[str, Any], loc: KeyPath, path: KeyPath, model: type[BaseModel], source: Source
) -> str:
    kind, context = details["type"], details.get("ctx") or {}
    if kind == "extra_forbidden":
        valid = [k for member in _models_at(model, loc[:-1]) for k in member.model_fields]
        section = f" in {dotted(path[:-1])!r}" if path[:-1] else ""
        return f"unknown key {loc[-1]!r}{section}; {suggestion(str(loc[-1]), valid, what='valid keys')}"
    name = repr(dotted(path)) if path else "the configuration"
    if kind == "missing":
        section = f" in {dotted(path[:-1])!r}" if path[:-1] else ""
        instead = _instead(str(loc[-1]), details["input"], model, loc[:-1])
        return f"the key {loc[-1]!r} is missing{section}{instead}"
    got = _shown(details.get("input"))
    if kind in _EXPECTED:
        hint = (
            "; remove the quotes"
            if kind in ("int_type", "float_type") and _is_number(details["input"])
            else ""
        )
        hint = "; put it in quotes" if kind == "string_type" and _is_scalar(details["input"]) else hint
        return f"{name} must be {_EXPECTED[kind]}, got {got}{hint}"
    if kind in _BOUNDS:
        return f"{name} must be {_BOUNDS[kind]} {next(iter(context.values())):g}, got {got}"
    if kind in ("literal_error", "enum"):
        allowed = _choices(_annotation_at(model, loc))
        return f"{name} cannot be {got}; {suggestion(str(details['input']), allowed, what='choose one of')}"
    if kind == "string_too_short":
        return f"{name} must not be empty"
    if kind == "union_tag_invalid":
        tags = [t.strip("' ") for t in str(context.get("expected_tags", "")).split(",")]
        key, tag = str(context.get("discriminator", "")).strip("'"), str(context.get("tag", ""))
        return f"unknown {key} {tag!r} in {name}; {suggestion(tag, tags, what='choose one of')}"
    if kind == "union_tag_not_found":
        key = str(context.get("discriminator", "")).strip("'")
        return f"the key {key!r} is missing in {name}{_instead(key, details['input'], model, loc)}"
    return f"{name}: {str(details['msg']).removeprefix('Value error, ')}"


def _instead(key: str, section: Any, model: type[BaseModel], loc: KeyPath) -> str:
    """Say which unknown key of the section was probably meant to be the missing one."""
    if not isinstance(section, Mapping):
        return ""
    known = {k for member in _models_at(model, loc) for k in member.model_fields}
    near = nearest(key, (str(k) for k in section if k not in known))
    return f"; is {near!r} meant to be it?" if near else ""


def _shown(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return "'key: value' settings"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _is_number(value: object) -> bool:
    if not isinstance(value, str):
        return False
    try:
        float(value)
    except ValueError:
        return False
    return True


def _is_scalar(value: object) -> bool:
    return isinstance(value, bool | int | float)


def _choices(annotation: Any) -> list[str]:
    """Return the values that a ``Literal`` allows, however deep it is wrapped."""
    found: list[str] = []
    for part in get_args(annotation):
        found += [part] if isinstance(part, str) else _choices(part)
    return found


def _models_at(model: type[BaseModel], loc: KeyPath) -> list[type[BaseModel]]:
    """Return the models that a location may hold; more than one only where a union has not been decided."""
    return [
        m for m in _members(_annotation_at(model, loc)) if isinstance(m, type) and issubclass(m, BaseModel)
    ]


def _annotation_at(model: type[BaseModel], loc: KeyPath) -> Any:
    """Follow a location through annotations; the tag of a union picks the member that has it."""
    annotation: Any = model
    for part in loc:
        members = _members(annotation)
        tagged = [m for m in members if _tag_of(m) == part]
        keyed = [
            m for m in members if isinstance(m, type) and issubclass(m, BaseModel) and part in m.model_fields
        ]
        if len(members) > 1 and tagged:
            annotation = tagged[0]
        elif keyed:
            annotation = keyed[0].model_fields[str(part)].annotation
        else:
            inner = [[a for a in get_args(m) if a is not ...][-1] for m in members if _is_container(m)]
            annotation = inner[0] if inner else annotation
    return annotation


def _members(annotation: Any) -> list[Any]:
    """Take unions, optionals and ``Annotated`` apart."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _members(get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        return [m for a in get_args(annotation) if a is not type(None) for m in _members(a)]
    return [annotation]


def _tag_of(member: Any) -> str | None:
    """Return the value of a member's one-valued ``Literal`` field, by which its union knows it."""
    if not (isinstance(member, type) and issubclass(member, BaseModel)):
        return None
    for info in member.model_fields.values():
        choices = _choices(info.annotation) if str(get_origin(info.annotation)) == "typing.Literal" else []
        if len(choices) == 1:
            return choices[0]
    return None


def _is_container(annotation: Any) -> bool:
    origin = get_origin(annotation)
    return isinstance(origin, type) and issubclass(origin, Mapping | Sequence)
