"""Nouns as columns: an Arrow type for every field, and functions that write and read its values.

The types follow from the annotations of the nouns, so that a new field becomes a new column by itself. A mapping
becomes a list of pairs of ``name`` and ``value``, which `datasets` can read as well; one whose values may be any
JSON becomes a text of JSON. Null stands for None and for nothing else, so that what is read back is equal to what
was written.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping
from enum import StrEnum
from inspect import isclass
from types import NoneType, UnionType
from typing import Any, Final, Literal, NamedTuple, Union, get_args, get_origin

from dyna_nodes.nouns import Noun
from dyna_training.store.arrow import pa

_SCALARS: Final = {str: pa.string(), bool: pa.bool_(), int: pa.int64(), float: pa.float64()}
_LARGEST: Final = 2**63 - 1


class Column(NamedTuple):
    """How values of one annotation stand in a column.

    Attributes:
        type: The Arrow type.
        write: From a value of a noun to what Arrow takes.
        read: From what Arrow gives, never None, to what the noun takes.
    """

    type: pa.DataType
    write: Callable[[Any], Any]
    read: Callable[[Any], Any]


@functools.cache
def column_of(kind: type[Noun], without: tuple[str, ...] = ()) -> Column:
    """Return the column of a noun: a struct of its fields.

    Args:
        kind: The noun.
        without: Names of fields that are left out.
    """
    fields = {n: _column(f.annotation) for n, f in kind.model_fields.items() if n not in without}

    def write(noun: Any) -> dict[str, Any]:
        return {name: column.write(getattr(noun, name)) for name, column in fields.items()}

    def read(values: Mapping[str, Any]) -> dict[str, Any]:
        return {n: column.read(values[n]) for n, column in fields.items() if values.get(n) is not None}

    return Column(pa.struct([(name, column.type) for name, column in fields.items()]), write, read)


def _column(annotation: Any) -> Column:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, UnionType):
        [inner] = [_column(a) for a in arguments if a is not NoneType]
        return inner._replace(write=lambda value: None if value is None else inner.write(value))
    if origin is Literal or (isclass(annotation) and issubclass(annotation, StrEnum)):
        return Column(pa.string(), str, _same)
    if isclass(annotation) and issubclass(annotation, Noun):
        return column_of(annotation)
    if annotation in _SCALARS:
        return Column(_SCALARS[annotation], _same, _same)
    if origin is tuple:
        each = _column(arguments[0])
        return Column(
            pa.list_(each.type), lambda v: [each.write(x) for x in v], lambda v: [each.read(x) for x in v]
        )
    if origin is Mapping and arguments[1] is Any:
        return Column(pa.string(), _to_json, json.loads)
    if origin is Mapping:
        pair = pa.struct([("name", pa.string()), ("value", _SCALARS[arguments[1]])])
        return Column(pa.list_(pair), _pairs, lambda v: {x["name"]: x["value"] for x in v})
    raise TypeError(f"no column can hold {annotation}")


def plain(value: Any) -> Any:
    """Return a written value with all that Arrow cannot hold replaced.

    Half a surrogate pair, which is no text, becomes the replacement character; a whole number beyond 64 bits the
    nearest one within.
    """
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, int) and not isinstance(value, bool):
        return max(-_LARGEST, min(_LARGEST, value))
    if isinstance(value, Mapping):
        return {name: plain(inner) for name, inner in value.items()}
    return [plain(inner) for inner in value] if isinstance(value, list) else value


def unknown_field(found: pa.DataType, known: pa.DataType, place: str) -> str | None:
    """Return the place of a field in ``found`` that ``known`` has not, or has as something else; None without one."""
    if pa.types.is_struct(found) and pa.types.is_struct(known):
        names = {field.name: field.type for field in known}
        for field in found:
            where = f"{place}.{field.name}" if place else field.name
            inner = unknown_field(field.type, names[field.name], where) if field.name in names else where
            if inner is not None:
                return inner
        return None
    if pa.types.is_list(found) and pa.types.is_list(known):
        return unknown_field(found.value_type, known.value_type, place)
    return None if found == known else place


def _same(value: Any) -> Any:
    return value


def _to_json(value: Mapping[str, Any]) -> str:
    return json.dumps(dict(value), ensure_ascii=False, separators=(",", ":"), default=str)


def _pairs(value: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"name": name, "value": inner} for name, inner in value.items()]
