"""The table of all keys, made from the JSON schema, so that page and schema say the same."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from dyna_graph.config.config import DynaConfig

BEGIN = "<!-- from here on made by `dyna schema --markdown` -->\n"


def reference_text() -> str:
    """Return a Markdown table of the keys of every section, in the order in which the file has them."""
    schema = DynaConfig.json_schema()
    definitions = schema["$defs"]
    titles: dict[str, str] = {"": "The file"}
    tables: list[str] = []
    for name in (queue := [""]):
        section = definitions[name] if name else schema
        long = next((form for form in section.get("anyOf", ()) if "properties" in form), section)
        for key, value in long["properties"].items():
            for found in _references(value):
                if found not in titles:
                    titles[found] = _title(found, key)
                    queue.append(found)  # the loop goes on with it
        tables.append(_table(name, long, titles, definitions))
    return "\n\n".join(tables) + "\n"


def in_page(page: str, tables: str) -> str:
    """Return a page with its tables replaced; what stands before them stays."""
    before, mark, _ = page.partition(BEGIN)
    return f"{before}{mark}\n{tables}" if mark else tables


def _title(name: str, key: str) -> str:
    critic = name.removesuffix("CriticSettings")
    return f"`critic: {critic.lower()}`" if critic != name else f"`{key}`"


def _references(value: Any) -> Iterator[str]:
    """Yield the names of all definitions that a part of a schema refers to."""
    if isinstance(value, Mapping):
        if "$ref" in value:
            yield str(value["$ref"]).rpartition("/")[2]
        for inner in value.values():
            yield from _references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _references(inner)


def _table(
    name: str, section: Mapping[str, Any], titles: Mapping[str, str], definitions: Mapping[str, Any]
) -> str:
    lines = [f"### {titles[name]}", ""]
    if name:
        lines += [" ".join(str(section.get("description", "")).split()), ""]
    lines += ["| key | value | default | meaning |", "|---|---|---|---|"]
    for key, value in section["properties"].items():
        first = next(_references(value), "")
        meaning = value.get("description") or definitions.get(first, {}).get("description", "")
        default = "**required**" if key in section.get("required", ()) else _default(value.get("default"))
        kinds = " or ".join(dict.fromkeys(_kinds(value, titles)))
        lines.append(f"| `{key}` | {kinds} | {default} | {' '.join(meaning.split())} |")
    return "\n".join(lines)


def _default(default: Any) -> str:
    if default is None or default == [] or isinstance(default, dict):
        return ""
    return f"`{default if isinstance(default, str) else json.dumps(default)}`"


def _kinds(value: Mapping[str, Any], titles: Mapping[str, str]) -> Iterator[str]:
    """Yield in words what a value may be."""
    if "$ref" in value:
        title = titles[next(_references(value))]
        yield "a critic" if title.startswith("`critic:") else f"see {title}"
    elif "enum" in value or "const" in value:
        yield ", ".join(f"`{choice}`" for choice in value.get("enum", [value.get("const")]))
    elif "anyOf" in value or "oneOf" in value:
        for form in value.get("anyOf", value.get("oneOf", ())):
            if form.get("type") != "null":
                yield from _kinds(form, titles)
    elif value.get("type") == "array":
        of = " or ".join(dict.fromkeys(_kinds(value["items"], titles)))
        yield f"list of {_MANY.get(of, of)}"
    elif value.get("type") == "object":
        inner = value.get("additionalProperties")
        yield f"glob: {next(_kinds(inner, titles))}" if isinstance(inner, dict) else "keyword arguments"
    else:
        yield _scalar(value)


_MANY: Final = {"a critic": "critics", "number": "numbers", "text": "texts"}


def _scalar(value: Mapping[str, Any]) -> str:
    words = {"integer": "whole number", "number": "number", "boolean": "`true`, `false`", "string": "text"}
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    bounds = ", ".join(f"{sign} {value[key]:g}" for key, sign in signs.items() if key in value)
    return f"{words[value['type']]} {bounds}".strip()
