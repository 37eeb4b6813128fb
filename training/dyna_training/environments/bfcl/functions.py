"""What the functions of the APIs are for, as the package documents them: for the schemas of tools, and in one line."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from dyna_training.environments.base import Function, GameFileError
from dyna_training.environments.bfcl.package import APIS, INSTALL, folder, module

DONE: Final = "done"
"""Ends the agent's turn."""
ENDING: Final = "done({})"
"""The call of it, as the project writes it."""
_SCHEMA_TYPES: Final = {"dict": "object", "float": "number", "tuple": "array", "any": "string"}
_SHORT_TYPES: Final = {
    "string": "str",
    "integer": "int",
    "number": "float",
    "boolean": "bool",
    "object": "dict",
}

END_OF_TURN: Final = Function(
    name=DONE,
    description="End your turn once you have done all that the user asked for. The user then goes on.",
    parameters={
        "type": "object",
        "properties": {"message": {"type": "string", "description": "What you tell the user."}},
        "required": [],
    },
)


@functools.cache
def functions_of(api: str) -> tuple[Function, ...]:
    """Return the functions of an API, in the package's order.

    Raises:
        BfclMissing: The package is not installed.
        GameFileError: Its documentation cannot be read.
    """
    names = module("constants.executable_backend_config").MULTI_TURN_FUNC_DOC_FILE_MAPPING
    file = folder() / "data" / "multi_turn_func_doc" / names[api]
    try:
        entries = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
        return tuple(
            Function(entry["name"], entry["description"], _schema(entry["parameters"])) for entry in entries
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise GameFileError(
            f"the functions of {api} in {file} cannot be read ({error!r}); install it again: {INSTALL}"
        ) from error


@functools.cache
def owners() -> Mapping[str, str]:
    """Return the API that each function belongs to; no two share a name."""
    return MappingProxyType({function.name: api for api in APIS for function in functions_of(api)})


@functools.cache
def parameters_of(name: str) -> tuple[str, ...]:
    """Return the parameters of a function, in order."""
    function = next(function for function in functions_of(owners()[name]) if function.name == name)
    return tuple(function.parameters["properties"])


@functools.cache
def signatures(apis: Sequence[str]) -> str:
    """Return the functions of some APIs, one line each, after what the API is."""
    parts = []
    for api in apis:
        functions = functions_of(api)
        parts.append("\n".join([f"{api}:", *map(_signature, functions)]))
    parts.append(f"{_signature(END_OF_TURN)} ends your turn; the user then goes on.")
    return "\n".join(parts)


def _signature(function: Function) -> str:
    required = set(function.parameters["required"])
    parameters = []
    for name, schema in function.parameters["properties"].items():
        kind = schema["type"]
        short = _SHORT_TYPES.get(kind, kind)
        if kind == "array":
            item = schema.get("items", {}).get("type", "string")
            short = f"list[{_SHORT_TYPES.get(item, item)}]"
        parameters.append(f"{name}: {short}" + ("" if name in required else " = ..."))
    return f"{function.name}({', '.join(parameters)})"


def _schema(documented: Mapping[str, Any]) -> dict[str, Any]:
    """Return JSON Schema for what the package documents in types of Python's."""
    schema = dict(documented)
    schema["type"] = _SCHEMA_TYPES.get(schema["type"], schema["type"])
    if schema.get("default") == "None":  # the package's way to say that there is none
        del schema["default"]
    if "properties" in schema:
        schema["properties"] = {name: _schema(part) for name, part in schema["properties"].items()}
    if "items" in schema:
        schema["items"] = _schema(schema["items"])
    return schema
