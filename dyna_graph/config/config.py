"""The configuration of a Dyna agent: what `dyna.yaml` says."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field, PrivateAttr, ValidationError, field_validator
from pydantic_core import PydanticCustomError

from dyna_graph.config.critics import Critics
from dyna_graph.config.problems import explain
from dyna_graph.config.settings import (
    CritiqueSettings,
    LimitSettings,
    ModelSettings,
    RecordSettings,
    Settings,
    SimulateSettings,
    Text,
    ToolSettings,
    WorldModelSettings,
)
from dyna_graph.config.source import KeyPath, Source, dotted, escaped, read_source, write_yaml
from dyna_graph.errors import ConfigError, ModelError, Problem
from dyna_nodes.settings import Memory, refuse_unreached, refuse_unreached_globs

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from langchain_core.tools import BaseTool
    from langgraph.types import Checkpointer

    from dyna_graph.agent import DynaGraph
    from dyna_nodes.protocols import Critic, WorldModel

SCHEMA_FILE = "dyna.schema.json"
CHECKPOINTER = "^(memory|sqlite:.+|postgres(ql)?://.+)$"


class DynaConfig(Settings):
    """Everything that makes a Dyna agent, except its tools.

    Example:
        ```python
        agent = DynaConfig.from_file("dyna.yaml").build(tools=[search, delete_file])
        agent.invoke({"messages": [{"role": "user", "content": "Tidy up the folder."}]})
        ```
    """

    model: ModelSettings | None = None
    """The policy: the chat model that proposes actions. A middleware leaves it to its agent; there it is the model
    of judges that name none."""
    system_prompt: Text | None = None
    """What the policy is told before anything else."""
    memory: Memory = "thoughts"
    """What the policy reads of its own earlier turns: `thoughts` shows them whole, `actions` without the text
    beside the calls; as it was trained. Messages and record keep everything."""
    world_model: WorldModelSettings = WorldModelSettings(kind="none")
    """What imagines the outcome of each proposed action."""
    critic: Critics = ()
    """Who judges; by tool, the first that matches a call judges it."""
    mode: Literal["shadow", "advise", "enforce"] = "enforce"
    """`enforce` obeys verdicts, `advise` runs everything and adds the hint to the result, `shadow` only
    records; start with `shadow`."""
    dry_run: bool = False
    """No tool runs: the world model's prediction takes the place of every result."""
    simulate: SimulateSettings = SimulateSettings()
    """How far the agent looks ahead."""
    critique: CritiqueSettings = CritiqueSettings()
    """What a verdict, or the lack of one, leads to."""
    tools: Mapping[Text, ToolSettings] = Field(default_factory=dict)
    """How tools are treated, by name or glob; the first match counts, exact names before globs."""
    record: RecordSettings | None = None
    """The experience log; left out: nothing is recorded."""
    checkpointer: Text | None = Field(default=None, json_schema_extra={"pattern": CHECKPOINTER})
    """Where runs are checkpointed: `memory`, `sqlite:FILE`, `postgresql://…`, or left out."""
    journal: Text | Literal[False] | None = None
    """Where the intent before each effect is written: an SQLite file, or `postgresql://…`. Left out: beside the
    checkpointer; `false`: nowhere, and a crash may then repeat an effect."""
    limits: LimitSettings = LimitSettings()
    """How long a run may take."""

    @field_validator("checkpointer")
    @classmethod
    def _known_checkpointer(cls, checkpointer: str | None) -> str | None:
        if checkpointer is not None and not re.match(CHECKPOINTER, checkpointer):
            raise PydanticCustomError(
                "checkpointer",
                "unknown checkpointer {found}; write memory, sqlite:FILE, or postgresql://…",
                {"found": repr(re.sub("(://).*", r"\1…", checkpointer))},  # which may hold a password
            )
        return checkpointer

    @field_validator("tools")
    @classmethod
    def _each_tool_glob_is_reached(cls, tools: Mapping[str, ToolSettings]) -> Mapping[str, ToolSettings]:
        refuse_unreached_globs(tools)
        return tools

    @field_validator("critic")
    @classmethod
    def _each_critic_is_reached(cls, critics: Critics) -> Critics:
        for index, critic in enumerate(critics):
            earlier = [glob for before in critics[:index] for glob in before.tools]
            refuse_unreached(f"{critic.critic} (number {index + 1})", critic.tools, earlier)
        return critics

    _source: Source = PrivateAttr(default_factory=Source)

    @classmethod
    def from_file(cls, file: str | os.PathLike[str], *, environment: Mapping[str, str] | None = None) -> Self:
        """Read a YAML file.

        Args:
            file: The file; relative paths in it are relative to its folder.
            environment: Values for ``${NAME}``; the process's environment when None.

        Raises:
            ConfigError: Lists everything that is wrong, each with file, line and key.
        """
        return cls._from_source(read_source(file, environment))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Take settings from a dictionary as the YAML file would hold them, short forms included.

        Raises:
            ConfigError: Lists everything that is wrong, each with its key.
        """
        return cls._from_source(Source(data=dict(data)))

    @classmethod
    def _from_source(cls, source: Source) -> Self:
        try:
            config = cls.model_validate(source.data)
        except ValidationError as error:
            raise ConfigError([*source.problems, *explain(error, cls, source)]) from None
        source.raise_problems()
        config._source = source
        return config

    @property
    def policy(self) -> ModelSettings:
        """The model of the policy.

        Raises:
            ConfigError: There is none.
        """
        if self.model is None:
            raise self.problem("the key 'model' is missing: the chat model that proposes actions")
        return self.model

    @property
    def folder(self) -> Path:
        """What relative paths are relative to: the folder of the file, or the working directory."""
        return Path(self._source.file).parent if self._source.file else Path()

    def to_dict(self, *, defaults: bool = False, references: bool = False) -> dict[str, Any]:
        """Return the settings as a YAML file holds them, in short forms.

        Args:
            defaults: Include settings that have their default value.
            references: Where a text came from an environment variable, return the text that names the
                variable, as a file would; secrets stay out of it.
        """
        plain: dict[str, Any] = self.model_dump(mode="json", exclude_defaults=not defaults)
        return (
            {key: self._with_references(key, value) for key, value in plain.items()} if references else plain
        )

    def to_yaml(self, *, defaults: bool = False) -> str:
        """Return the settings as YAML text; see `to_dict`, with references."""
        return write_yaml(self.to_dict(defaults=defaults, references=True))

    def to_file(self, file: str | os.PathLike[str], *, schema: bool = True) -> None:
        """Write the settings as YAML.

        Args:
            file: The file; an existing one is replaced.
            schema: Write the JSON schema beside it, too, and the line that tells editors about it.
        """
        path = Path(file)
        line = ""
        if schema:
            (path.parent / SCHEMA_FILE).write_text(schema_text(), encoding="utf-8")
            line = schema_line()
        path.write_text(line + self.to_yaml(), encoding="utf-8")

    def _with_references(self, key: str, value: Any) -> Any:
        texts = {}
        for path, text in self._source.references.items():
            if path and path[0] == key:
                texts[_at(self._source.data, path)] = text
        return _replaced(value, texts)

    @classmethod
    def json_schema(cls) -> dict[str, Any]:
        """Return the JSON schema of the YAML file, short forms included."""
        return {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            **cls.model_json_schema(mode="validation"),
            "title": "dyna.yaml",
        }

    def check(self) -> None:
        """Check what the file alone cannot tell: that models can be found, with the packages they need.

        Nothing is loaded, no model is asked.

        Raises:
            ConfigError: Lists everything that is missing, each with its key.
        """
        from dyna_graph.models import check_model

        problems: list[Problem] = []
        for path, model in self.models():
            try:
                check_model(model.name, folder=self.folder)
            except ModelError as error:
                problems += self.problem(str(error), *path).problems
        if problems:
            raise ConfigError(problems)

    def models(self) -> list[tuple[KeyPath, ModelSettings]]:
        """Return every model that the settings name, with the path of its key."""
        return list(_models(self, ()))

    def build(
        self,
        tools: Sequence[BaseTool | Callable[..., Any]] = (),
        *,
        model: BaseChatModel | None = None,
        world_model: WorldModel | None = None,
        critic: Critic | None = None,
        checkpointer: Checkpointer = None,
        **options: Any,
    ) -> DynaGraph:
        """Build the agent.

        Args:
            tools: The agent's tools.
            model: A policy to use instead of the configured one.
            world_model: A world model to use instead of the configured one.
            critic: A critic to use instead of the configured one.
            checkpointer: A checkpointer to use instead of the configured one.
            **options: Further arguments of `create_dyna_agent`, such as ``store`` or ``provenance``.

        Raises:
            ConfigError: A part cannot be made, or parts do not fit together; names the key to blame.
        """
        from dyna_graph.config.build import build

        return build(
            self,
            tools,
            model=model,
            world_model=world_model,
            critic=critic,
            checkpointer=checkpointer,
            **options,
        )

    def problem(self, message: str, *path: str | int) -> ConfigError:
        """Return an error about the setting at ``path``, with file and line where they are known."""
        return ConfigError([Problem(message, self._source.file, self._source.line(path), dotted(path))])


def _models(settings: Any, path: KeyPath) -> Iterator[tuple[KeyPath, ModelSettings]]:
    """Yield every model that the settings name, with its key path."""
    if isinstance(settings, ModelSettings):
        yield path, settings
    elif isinstance(settings, Settings):
        for key, value in settings:
            yield from _models(value, (*path, key))
    elif isinstance(settings, tuple):
        for index, value in enumerate(settings):
            yield from _models(value, (*path, index))


def _at(data: Any, path: Sequence[str | int]) -> Any:
    for part in path:
        data = data[part]
    return data


def _replaced(value: Any, texts: Mapping[Any, str]) -> Any:
    """Put the variable's name back where a text came from the environment; escape any other ``${``."""
    if isinstance(value, dict):
        return {key: _replaced(inner, texts) for key, inner in value.items()}
    if isinstance(value, list):
        return [_replaced(inner, texts) for inner in value]
    if isinstance(value, str):
        return texts.get(value) or escaped(value)
    return value


def schema_text() -> str:
    """Return the text of the JSON schema file."""
    return json.dumps(DynaConfig.json_schema(), indent=1, ensure_ascii=False) + "\n"


def schema_line(schema: str = f"./{SCHEMA_FILE}") -> str:
    """Return the first line of a YAML file that tells editors its schema."""
    return f"# yaml-language-server: $schema={schema}\n"
