"""Questions of ToolBench, as StableToolBench's files hold them, and the functions that they name."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from dyna_nodes.nouns import Action
from dyna_training.environments.base import Function, GameFileError

FINISH: Final = Function(
    name="Finish",
    description="End the conversation, with the final answer or without one.",
    parameters={
        "type": "object",
        "properties": {
            "return_type": {"type": "string", "enum": ["give_answer", "give_up_and_restart"]},
            "final_answer": {
                "type": "string",
                "description": "What the user is told; needed to give an answer.",
            },
        },
        "required": ["return_type"],
    },
)
_TYPES: Final = {"NUMBER": "integer", "STRING": "string", "BOOLEAN": "boolean"}
_RESERVED: Final = frozenset({"from", "class", "return", "false", "true", "id", "and"})
_LONGEST_NAME: Final = 64
_LONGEST_DESCRIPTION: Final = 256


class Api(NamedTuple):
    """A web API, as the server is asked for it.

    Attributes:
        category: Its category.
        tool: The tool that it is part of.
        name: Its name.
        function: The function that an agent calls.
        examples: Example values of required parameters.
    """

    category: str
    tool: str
    name: str
    function: Function
    examples: Mapping[str, Any]


class Query(NamedTuple):
    """A question.

    Attributes:
        id: Name of its file and its number, such as ``G1_instruction/588``.
        group: Name of its file.
        text: The question.
        apis: The APIs that it may take, by the names of their functions.
    """

    id: str
    group: str
    text: str
    apis: Mapping[str, Api]

    def functions(self) -> Iterator[Function]:
        """Return its functions."""
        return (api.function for api in self.apis.values())

    def parameters(self, function: str) -> tuple[str, ...]:
        """Return the parameters of a function, in order; of one that there is not, none."""
        known = {FINISH.name: FINISH, **{api.function.name: api.function for api in self.apis.values()}}
        return tuple(known[function].parameters["properties"]) if function in known else ()

    def shown(self) -> str:
        """Return what the agent is told: the functions in a line each, and the question."""
        lines = []
        for function in (*self.functions(), FINISH):
            required = function.parameters["required"]
            names = (
                name if name in required else f"{name} = ..." for name in function.parameters["properties"]
            )
            lines.append(f"{function.name}({', '.join(names)}): {' '.join(function.description.split())}")
        return "\n".join([*lines, "", f"User: {self.text}"])

    def examples(self) -> Iterator[str]:
        """Return a call of each function with the documentation's values, and giving up."""
        for api in self.apis.values():
            yield Action(tool=api.function.name, arguments=dict(api.examples)).text
        yield Action(tool=FINISH.name, arguments={"return_type": "give_up_and_restart"}).text


def queries_in(files: Sequence[Path], names: Sequence[str] | None) -> dict[str, Query]:
    """Return the questions in some files, by their names.

    Args:
        files: JSON files of StableToolBench.
        names: Only these questions.

    Raises:
        GameFileError: A file cannot be read, or has no question of a name.
    """
    found: dict[str, Query] = {}
    for file in files:
        try:
            entries = json.loads(file.read_text("utf-8"))
            for number, entry in enumerate(entries):
                query = _query(file.stem, entry.get("query_id", number), entry)
                found[query.id] = query
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise GameFileError(
                f"{file} is no file of questions ({error!r}); StableToolBench has them in "
                "solvable_queries/test_instruction"
            ) from error
    missing = [name for name in names or () if name not in found]
    if missing:
        raise GameFileError(
            f"no question {missing[0]!r} in {', '.join(map(str, files)) or 'queries=, which names no file'}"
        )
    return found if names is None else {name: found[name] for name in names}


def standard(name: str) -> str:
    """Return a name as ToolBench's server spells it: lower case, letters, digits and underscores."""
    # A caret stays as it is, which is the server's own way.
    spelt = re.sub(r"_+", "_", re.sub(r"[^\u4e00-\u9fa5^a-zA-Z0-9_]", "_", name)).lower().strip("_")
    return f"get_{spelt}" if spelt[:1].isdigit() else spelt


def _query(group: str, number: object, entry: Mapping[str, Any]) -> Query:
    apis = [_api(api) for api in entry["api_list"]]
    return Query(f"{group}/{number}", group, str(entry["query"]), {api.function.name: api for api in apis})


def _api(entry: Mapping[str, Any]) -> Api:
    tool, name = standard(entry["tool_name"]), _spelt(entry["api_name"])
    properties: dict[str, Any] = {}
    examples: dict[str, Any] = {}
    for kind in ("required_parameters", "optional_parameters"):
        for parameter in entry.get(kind, ()):
            schema = {
                "type": _TYPES.get(str(parameter["type"]).upper(), "string"),
                "description": str(parameter.get("description", ""))[:_LONGEST_DESCRIPTION],
            }
            default = parameter.get("default", "")
            if str(default):
                schema["example_value"] = default
            properties[_spelt(parameter["name"])] = schema
            if kind == "required_parameters":
                examples[_spelt(parameter["name"])] = default
    about = str(entry.get("api_description") or "").strip()[:_LONGEST_DESCRIPTION]
    function = Function(
        name=f"{name}_for_{tool}"[-_LONGEST_NAME:],
        description=about or f"Part of the tool {tool}.",
        parameters={"type": "object", "properties": properties, "required": list(examples)},
    )
    return Api(entry["category_name"], tool, name, function, examples)


def _spelt(name: str) -> str:
    spelt = standard(name)
    return f"is_{spelt}" if spelt in _RESERVED else spelt
