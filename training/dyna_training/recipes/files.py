"""Recipe files: YAML with the settings of a recipe, found by path or by the name of one that is shipped.

The first key may be ``recipe``, the name of the recipe that the file is for. Paths in a file are relative to
the working directory, as those on the command line are. ``${NAME}`` is replaced by the environment variable.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError

from dyna_graph.config.problems import explain
from dyna_graph.config.source import Source, parse_source, read_source, write_yaml
from dyna_graph.errors import ConfigError, Problem
from dyna_training.shipped import find_file, shipped_files

PACKAGE: Final = "dyna_training.recipes"
S = TypeVar("S", bound=BaseModel)


def shipped_recipes() -> dict[str, Path]:
    """Return the recipe files that come with the package, by name."""
    return shipped_files(PACKAGE)


def find_recipe(name: str) -> Path:
    """Return a recipe file by its path or by the name of a shipped one.

    Raises:
        ConfigError: There is none.
    """
    return find_file(name, "recipe", PACKAGE)


def read_settings(
    recipe: str, settings: type[S], file: str | None, given: Sequence[str], flags: Mapping[str, Any]
) -> S:
    """Return the settings of a run: a recipe file, overridden by ``key=value``, overridden by flags.

    Args:
        recipe: Name of the recipe.
        settings: The class of its settings.
        file: Recipe file, or the name of a shipped one; None is an empty one.
        given: Settings as ``key=value``, the value in YAML.
        flags: Settings from other options; None is none.

    Raises:
        ConfigError: Lists everything that is wrong, with file, line and key.
    """
    source = Source() if file is None else read_source(find_recipe(file))
    named = source.data.pop("recipe", recipe)
    if named != recipe:
        problem = Problem(
            f"this file is for `dyna train {named}`, not {recipe}",
            source.file,
            source.line(("recipe",)),
            "recipe",
        )
        raise ConfigError([*source.problems, problem])
    overridden: dict[str, str] = {}
    for text in given:
        key, value = _key_and_value(text)
        source.data[key] = value
        overridden[key] = f"--set {text}"
    for key, value in flags.items():
        if value is not None:
            source.data[key] = value
            overridden[key] = f"--{key}"
    try:
        result = settings.model_validate(source.data)
    except ValidationError as error:
        problems = [_where(problem, overridden) for problem in explain(error, settings, source)]
        raise ConfigError([*source.problems, *problems]) from None
    source.raise_problems()
    return result


def _key_and_value(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise ConfigError([Problem(f"--set {text}: write key=value, such as --set learning_rate=1e-3")])
    try:
        parsed = parse_source(f"value: {value.strip()}")
    except ConfigError:
        message = f"--set {text}: the value is not YAML; put it in quotes"
        raise ConfigError([Problem(message)]) from None
    parsed.raise_problems()
    return key.strip(), parsed.data["value"]


def _where(problem: Problem, overridden: Mapping[str, str]) -> Problem:
    """Name the option in a problem whose value came from the command line; a missing key has no place."""
    top = problem.key.partition(".")[0].partition("[")[0]
    if top in overridden:
        return Problem(f"{overridden[top]}: {problem.message}", key=problem.key)
    if "is missing" in problem.message:
        option = f"--{top}" if top in ("data", "out") else f"--set {top}=…"
        message = f"{problem.message}; give it with {option}, or in the recipe file"
        return Problem(message, problem.file, None, top)
    return problem


def show_settings(recipe: str, settings: type[BaseModel], values: Mapping[str, Any]) -> str:
    """Return a recipe file with all settings of a recipe, each with its description.

    Args:
        recipe: Name of the recipe.
        settings: The class of its settings.
        values: Values other than the defaults.
    """
    parts = [f"recipe: {recipe}\n"]
    for name, field in settings.model_fields.items():
        parts.append(f"# {field.description}\n")
        if name in values:
            parts.append(write_yaml({name: values[name]}))
        elif field.is_required():
            parts.append(f"# {name}:\n")
        else:
            parts.append(write_yaml({name: field.get_default(call_default_factory=False)}))
    return "".join(parts)
