"""Reads YAML so that every value still knows its line, and everything wrong with the file is found at once.

Differences from plain PyYAML, all of them on purpose: only ``true`` and ``false`` are booleans (``on``,
``off``, ``yes`` and ``no`` stay text, as in YAML 1.2; a setting that is a boolean accepts them all the same),
``1e-3`` is a number, ``010`` and ``12:30`` are not octal or sexagesimal, dates stay text, a key that stands
twice is refused, and ``${NAME}`` is replaced by the environment variable.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from dyna_graph.errors import ConfigError, Problem

KeyPath = tuple[str | int, ...]
MAX_NODES = 100_000
"""Aliases of aliases can blow up a small file; beyond this many values it is refused."""

_REFERENCE = re.compile(r"\$\$\{|\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}")
_BROKEN_REFERENCE = re.compile(r"(?<!\$)\$\{(?![A-Za-z_][A-Za-z0-9_]*(?::-[^}]*)?\})")
_NULL = re.compile(r"~|null|Null|NULL|")
_INT = re.compile(r"[-+]?(0|[1-9][0-9_]*)|0x[0-9a-fA-F]+|0o[0-7]+")
_FLOAT = re.compile(
    r"[-+]?(\.[0-9]+|[0-9][0-9_]*(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
)
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_PLAIN = "plain"
"""The tag of scalars without quotes, whose meaning `resolve_plain` decides."""
_TAGS = {_PLAIN, *(f"tag:yaml.org,2002:{kind}" for kind in ("str", "seq", "map"))}

_HINTS = (
    ("mapping values are not allowed", "put a value that contains ': ' in quotes, and indent a block"),
    (r"character '\t'", "indent with spaces; YAML forbids tabs"),
    ("found character '@'", "put the value in quotes"),
    ("found character '`'", "put the value in quotes"),
    ("found character '%'", "put the value in quotes"),
    ("expected alphabetic or numeric character", 'a glob that begins with * must be in quotes: "*"'),
    ("found undefined alias", 'a glob that begins with * must be in quotes: "*_file"'),
    ("expected <block end>", "check the indentation of this line and the one above it"),
    ("could not find expected ':'", "a key needs ': ' after it; check the line above, too"),
    ("while scanning a quoted scalar", "a quote is opened and never closed"),
    ("expected the node content", "a bracket or a comma is left over"),
    ("expected ',' or", "a bracket is opened and never closed"),
)


class _Loader(yaml.SafeLoader):
    """Reads YAML and leaves open what scalars without quotes mean."""

    def resolve(self, kind: type[yaml.Node], value: Any, implicit: Any) -> str:
        """Return the tag of a node that names none."""
        if kind is yaml.ScalarNode and implicit[0]:
            return _PLAIN
        tag: str = super().resolve(kind, value, implicit)  # type: ignore[no-untyped-call]
        return tag


@dataclass(eq=False)
class Source:
    """A configuration as it was written.

    Attributes:
        data: The values, environment variables filled in.
        file: The file as the user named it; empty when there is none.
        lines: Line, from 1, of every key path.
        references: For each key path whose text names an environment variable: that text.
        problems: Everything wrong so far.
        unset: Key paths whose environment variable is not set; what else is wrong with them is not worth
            saying.
    """

    data: dict[str, Any] = field(default_factory=dict)
    file: str = ""
    lines: dict[KeyPath, int] = field(default_factory=dict)
    references: dict[KeyPath, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    unset: set[KeyPath] = field(default_factory=set)

    def __eq__(self, other: object) -> bool:
        """All sources are equal: two configurations that say the same are, wherever they were read."""
        return isinstance(other, Source)

    __hash__ = None  # type: ignore[assignment]

    def line(self, path: KeyPath) -> int | None:
        """Return the line of ``path``, or of the nearest thing around it that the file contains."""
        for end in range(len(path), 0, -1):
            if path[:end] in self.lines:
                return self.lines[path[:end]]
        return self.lines.get(())

    def raise_problems(self) -> None:
        """Raise everything wrong so far, if anything is.

        Raises:
            ConfigError: There are problems.
        """
        if self.problems:
            raise ConfigError(self.problems)


def read_source(file: str | os.PathLike[str], environment: Mapping[str, str] | None = None) -> Source:
    """Read a YAML file.

    Args:
        file: The file.
        environment: Values for ``${NAME}``; the process's environment when None.

    Raises:
        ConfigError: The file cannot be read, or is no YAML at all. Problems inside a readable file are
            collected in ``problems`` instead, so that validation can add its own.
    """
    name = os.fspath(file)
    try:
        text = Path(file).read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise ConfigError([Problem("no such file; `dyna init` writes a starter file", name)]) from None
    except UnicodeDecodeError as error:
        raise ConfigError(
            [Problem(f"not UTF-8 text (byte {error.start}); save the file as UTF-8", name)]
        ) from None
    except OSError as error:
        raise ConfigError([Problem(f"cannot be read: {error.strerror or error}", name)]) from None
    return parse_source(text, name, environment)


def parse_source(text: str, file: str = "", environment: Mapping[str, str] | None = None) -> Source:
    """Parse YAML text; see `read_source`."""
    try:
        root = yaml.compose(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise ConfigError([_explain(error, file)]) from None
    source = Source(file=file)
    if root is None:
        raise ConfigError([Problem("the file is empty; `dyna init` writes a starter file", file)])
    if not isinstance(root, yaml.MappingNode):
        what = "a list" if isinstance(root, yaml.SequenceNode) else f"the text {root.value!r}"
        raise ConfigError([Problem(f"expected 'key: value' settings, found {what}", file, _line(root))])
    source.data = _Reader(source, os.environ if environment is None else environment).mapping(root, ())
    return source


def _explain(error: yaml.YAMLError, file: str) -> Problem:
    """Say in plain words what PyYAML stumbled over."""
    if not isinstance(error, yaml.MarkedYAMLError):
        return Problem(f"not valid YAML: {error}", file)
    mark = error.problem_mark or error.context_mark
    said = f"{error.context or ''} {error.problem or ''}".strip()
    if "but found another document" in said:
        return Problem(
            "a second YAML document begins here; one file holds one configuration", file, _at(mark)
        )
    hint = next((f"; {hint}" for pattern, hint in _HINTS if pattern in said), "")
    column = f" (column {mark.column + 1})" if mark else ""
    return Problem(f"not valid YAML: {error.problem or said}{column}{hint}", file, _at(mark))


def _at(mark: Any) -> int | None:
    return None if mark is None else int(mark.line) + 1


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _is_merge(key: yaml.Node) -> bool:
    return key.tag == _PLAIN and key.value == "<<"


class _Reader:
    """Turns YAML nodes into values and notes where each came from."""

    def __init__(self, source: Source, environment: Mapping[str, str]) -> None:
        self.source = source
        self.environment = environment
        self.count = 0
        self.open: set[int] = set()

    def problem(self, message: str, line: int, path: KeyPath) -> None:
        self.source.problems.append(Problem(message, self.source.file, line, dotted(path)))

    def value(self, node: yaml.Node, path: KeyPath) -> Any:
        self.count += 1
        if self.count > MAX_NODES:
            message = f"more than {MAX_NODES} values, aliases counted"
            raise ConfigError([Problem(message, self.source.file, _line(node), dotted(path))])
        if node.tag not in _TAGS:
            self.problem(f"the YAML tag {node.tag!r} is not allowed here", _line(node), path)
            return None
        if isinstance(node, yaml.ScalarNode):
            return self.scalar(node, path)
        if id(node) in self.open:
            self.problem("the alias refers to something that contains it", _line(node), path)
            return None
        self.open.add(id(node))
        try:
            if isinstance(node, yaml.MappingNode):
                return self.mapping(node, path)
            return self.sequence(node, path)
        finally:
            self.open.discard(id(node))

    def sequence(self, node: yaml.Node, path: KeyPath) -> list[Any]:
        items = []
        for index, item in enumerate(node.value):
            self.source.lines[(*path, index)] = _line(item)
            items.append(self.value(item, (*path, index)))
        return items

    def mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, Any]:
        if not path:
            self.source.lines[()] = 1
        first: dict[str, int] = {}
        result: dict[str, Any] = {}
        for key_node, value_node in self.merged(node, path):
            if not isinstance(key_node, yaml.ScalarNode):
                self.problem("a key must be plain text", _line(key_node), path)
                continue
            key, line = str(key_node.value), _line(key_node)
            if key in first:
                where = f" in {dotted(path)!r}" if path else ""
                self.problem(
                    f"key {key!r}{where} stands twice, first in line {first[key]}", line, (*path, key)
                )
                continue
            first[key] = line
            self.source.lines[(*path, key)] = line
            result[key] = self.value(value_node, (*path, key))
        return result

    def merged(self, node: yaml.MappingNode, path: KeyPath) -> Iterator[tuple[yaml.Node, yaml.Node]]:
        """Yield the entries of a mapping; those taken over with ``<<`` come last and never override."""
        own = [(k, v) for k, v in node.value if not _is_merge(k)]
        yield from own
        seen = {k.value for k, _ in own if isinstance(k, yaml.ScalarNode)}
        for key, value in node.value:
            if not _is_merge(key):
                continue
            for part in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                if not isinstance(part, yaml.MappingNode) or any(_is_merge(k) for k, _ in part.value):
                    self.problem("'<<' takes over one mapping or a list of mappings", _line(key), path)
                    continue
                for inherited, inherited_value in part.value:
                    if inherited.value not in seen:
                        seen.add(inherited.value)
                        yield inherited, inherited_value

    def scalar(self, node: yaml.ScalarNode, path: KeyPath) -> Any:
        text = self.filled(str(node.value), _line(node), path)
        return resolve_plain(text) if node.tag == _PLAIN else text

    def filled(self, text: str, line: int, path: KeyPath) -> str:
        """Replace the environment variables in ``text``."""
        if "${" not in text:
            return text
        if _BROKEN_REFERENCE.search(text):
            self.source.unset.add(path)
            help_text = "write ${NAME}, or $${ where ${ is meant as it stands"
            self.problem(f"cannot read the variable in {text!r}; {help_text}", line, path)
            return text
        self.source.references[path] = text

        def value(match: re.Match[str]) -> str:
            name = match["name"]
            if name is None:
                return "${"
            found = self.environment.get(name) or match["default"]
            if found is None:
                self.source.unset.add(path)
                state = "is empty" if name in self.environment else "is not set"
                help_text = f"set it, or give a default: ${{{name}:-…}}"
                message = f"environment variable {name} {state} (in {dotted(path)!r}); {help_text}"
                self.problem(message, line, path)
                return ""
            return found

        return _REFERENCE.sub(value, text)


def resolve_plain(text: str) -> Any:
    """Return what an unquoted YAML scalar means: null, a boolean, a number or text."""
    if _NULL.fullmatch(text):
        return None
    if text in _BOOL:
        return _BOOL[text]
    if _INT.fullmatch(text):
        return int(text.replace("_", ""), 0)
    if _FLOAT.fullmatch(text):
        return float(text.replace("_", "").lower().replace(".inf", "inf").replace(".nan", "nan"))
    return text


def dotted(path: KeyPath) -> str:
    """Write a key path: ``tools.delete_*.timeout``, ``critic[1].tools``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


_ODD = re.compile("[\x7f-\x9f\u2028\u2029\ufeff]")
"""What only double quotes can write so that it reads back the same."""


class _Dumper(yaml.SafeDumper):
    """Writes YAML that both this module and any YAML 1.1 or 1.2 reader understand alike."""


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    style = None
    if _ODD.search(value):
        style = '"'
    elif "\n" in value.strip("\n") and not re.search(r"[ \t]\n|[\x00-\x08\r]", value):
        style = "|"
    elif not isinstance(resolve_plain(value), str):
        style = '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _text)


def write_yaml(data: Mapping[str, Any]) -> str:
    """Write ``data`` as YAML text that `parse_source` reads back to the same values."""
    return yaml.dump(
        dict(data), Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=False, width=100
    )


def escaped(text: str) -> str:
    """Write ``text`` so that `parse_source` takes no ``${`` in it for a variable."""
    return text.replace("${", "$${")
