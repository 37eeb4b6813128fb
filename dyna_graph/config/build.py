"""Makes the agent that a configuration describes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from dyna_graph.config.critics import (
    AnyCritic,
    HouseholdCriticSettings,
    JudgeCriticSettings,
    OutcomeCriticSettings,
    RulesCriticSettings,
    TogetherCriticSettings,
    ValueCriticSettings,
)
from dyna_graph.config.settings import ModelSettings
from dyna_graph.errors import DynaError, suggestion
from dyna_graph.models import (
    LOCAL,
    VLLM,
    ModelName,
    api_key,
    check_model,
    find_adapter,
    find_base,
    parse_model,
    resolve_model,
)
from dyna_graph.plugins import WORLD_MODELS, load_plugin
from dyna_nodes.journal.servers import POSTGRES, is_postgres

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from langgraph.types import Checkpointer

    from dyna_graph.agent import DynaGraph
    from dyna_graph.config.config import DynaConfig
    from dyna_nodes.experience import ExperienceLog
    from dyna_nodes.local.request import TextEngine
    from dyna_nodes.protocols import Critic, WorldModel
    from dyna_nodes.settings import LoopSettings
    from dyna_nodes.trust import Tally

MEMORY = "memory"
SQLITE = "sqlite:"


def build(
    config: DynaConfig,
    tools: Sequence[Any],
    *,
    model: BaseChatModel | None,
    world_model: WorldModel | None,
    critic: Critic | None,
    checkpointer: Checkpointer,
    **options: Any,
) -> DynaGraph:
    """Make the agent; see `DynaConfig.build`."""
    from dyna_graph.agent import create_dyna_agent

    if checkpointer is None:
        checkpointer = build_checkpointer(config)
    if critic is None:
        _refuse_asking_nobody(config, checkpointer)
    policy = model if model is not None else chat_model(config, config.policy, "model")
    settings = dict(loop_settings(config))
    imagining = world_model if world_model is not None else build_world_model(config, tools)
    given: dict[str, Any] = {
        "world_model": imagining,
        "critic": critic if critic is not None else build_critic(config, policy, imagining),
        "system_prompt": config.system_prompt,
        "record": build_record(config),
        "journal": _journal_of(config),
        "checkpointer": checkpointer,
        "tool_settings": settings.pop("tools"),
        **settings,
        **options,
    }
    try:
        return create_dyna_agent(policy, tools, **given)
    except ValueError as error:
        raise config.problem(str(error)) from error


def middleware_options(
    config: DynaConfig, tools: Sequence[Any] = (), given: Mapping[str, Any] = MappingProxyType({})
) -> dict[str, Any]:
    """Return the arguments of `dyna_graph.DynaMiddleware` that a configuration stands for.

    Args:
        config: The configuration.
        tools: The agent's tools, for a world model that wants to know them.
        given: Arguments that come from elsewhere; their part of the configuration is not made.

    Raises:
        ConfigError: A part cannot be made, or belongs to the agent and not to a middleware.
    """
    for key in ("system_prompt", "checkpointer"):
        if getattr(config, key) is not None:
            raise config.problem(f"{key!r} belongs to the agent: give it to create_agent, and not here", key)
    settings = dict(loop_settings(config))
    imagining = given["world_model"] if "world_model" in given else build_world_model(config, tools)
    options: dict[str, Any] = {
        "world_model": imagining,
        "record": build_record(config),
        "journal": _journal_of(config),
        "tool_settings": settings.pop("tools"),
        **settings,
    }
    if "critic" not in given:
        judge = None if config.model is None else chat_model(config, config.model, "model")
        options["critic"] = build_critic(config, judge, imagining)
    return {**options, **given}


def loop_settings(config: DynaConfig) -> LoopSettings:
    """Return the settings of the loop."""
    from dyna_nodes import settings

    sections = (config.simulate, config.critique, config.limits)
    given = {key: value for section in sections for key, value in section if key != "unmatched"}
    tools = {glob: settings.ToolSettings(**dict(tool)) for glob, tool in config.tools.items()}
    return settings.LoopSettings(
        mode=config.mode, memory=config.memory, dry_run=config.dry_run, tools=tools, **given
    )


def chat_model(config: DynaConfig, model: ModelSettings, *path: str | int) -> BaseChatModel:
    """Return the chat model that the setting at ``path`` names.

    Raises:
        ConfigError: It cannot be made.
    """
    try:
        return resolve_model(model.name, folder=config.folder, **model.keywords())
    except DynaError as error:
        raise config.problem(str(error), *path) from error


def build_world_model(config: DynaConfig, tools: Sequence[Any] = ()) -> WorldModel | None:
    """Return the world model; None for the kind ``none``.

    Raises:
        ConfigError: It cannot be made.
    """
    settings = config.world_model
    given = dict(settings.options)
    if settings.kind == "none":
        return None
    if settings.kind == "trained":
        return _trained(config, given)
    if settings.kind == "thinking":
        from dyna_nodes.world_models import ThinkingWorldModel

        return _made(config, ThinkingWorldModel, given)
    if settings.model is not None:
        given["model"] = chat_model(config, settings.model, "world_model")
    if settings.kind == "chat":
        from dyna_nodes.world_models import ChatWorldModel

        described = {name: text for name, text in (_described(tool) for tool in tools) if text}
        given = {"tools": described, "context": settings.context, **given}
        return _made(config, ChatWorldModel, given)
    try:
        plugin = load_plugin(WORLD_MODELS, settings.kind)
    except DynaError as error:
        raise config.problem(str(error), "world_model") from error
    if "tools" in inspect.signature(plugin).parameters:
        given = {"tools": tools, **given}
    return _made(config, plugin, given)


def _trained(config: DynaConfig, given: dict[str, Any]) -> WorldModel:
    """Make a trained world model; in process it shares base weights with every other local model."""
    settings = config.world_model
    assert settings.model is not None  # the settings refuse it otherwise
    name = parse_model(settings.model.name)
    where = ("world_model", "model")
    if name.provider not in (LOCAL, VLLM) or (name.provider == VLLM and name.adapter is None):
        message = f"write local:base+adapter or vllm:base+adapter, not {settings.model.name!r}"
        raise config.problem(f"a trained world model is a base with an adapter: {message}", *where)
    options = settings.model.keywords()
    local = name.provider == LOCAL
    refused = sorted(set(options) - ({"dtype", "device", "merge"} if local else set()))
    if refused:
        takes = "has the options dtype, device and merge only" if local else "is set where it is served"
        raise config.problem(f"a trained world model takes no {refused[0]}; its model {takes}", *where)
    try:
        check_model(settings.model.name, folder=config.folder)
        from dyna_nodes.world_models import TrainedWorldModel

        make = _local_engine if local else _served_engine
        engine, adapter = make(config, name, options)
    except (DynaError, ValueError) as error:
        raise config.problem(str(error), *where) from error
    given = {"context": settings.context, "name": settings.model.name, **given}
    return _made(config, partial(TrainedWorldModel, engine, adapter), given)


def _local_engine(
    config: DynaConfig, name: ModelName, options: dict[str, Any]
) -> tuple[TextEngine, str | None]:
    """Return the engine in this process, and its name of the adapter."""
    from dyna_nodes.local import get_engine

    merge = bool(options.pop("merge", True))
    engine = get_engine(find_base(name.model, config.folder), **options)
    if name.adapter is None:
        return engine, None
    folder = find_adapter(name.adapter, config.folder)
    engine.load_adapter(str(folder), folder, merge=merge)
    return engine, str(folder)


def _served_engine(
    config: DynaConfig, name: ModelName, options: dict[str, Any]
) -> tuple[TextEngine, str | None]:
    """Return the engine of a server, and the server's name of the model; nothing is asked."""
    from dyna_nodes.served import get_served_engine

    return get_served_engine(name.address, find_base(name.model, config.folder), api_key()), name.served_as


def build_critic(
    config: DynaConfig, policy: BaseChatModel | None, world_model: WorldModel | None = None
) -> Critic | None:
    """Return the critic, or the list of them as one; None when none is configured.

    Args:
        config: The configuration.
        policy: The model that judges where a judge names none; None where there is no such model.
        world_model: The model whose predictions trust gates count; None counts those of any model.

    Raises:
        ConfigError: A model of a judge cannot be made.
    """
    from dyna_nodes.critics import FirstMatch, Rule

    if not config.critic:
        return None
    earned = reliability_source(config, world_model)
    made = [_critic(config, critic, policy, earned, ("critic", i)) for i, critic in enumerate(config.critic)]
    if len(made) == 1 and "*" in config.critic[0].tools:
        return made[0]
    rules = [Rule(critic, settings.tools) for critic, settings in zip(made, config.critic, strict=True)]
    return FirstMatch(rules, otherwise=config.critique.unmatched)


def reliability_source(config: DynaConfig, world_model: WorldModel | None) -> Callable[[], Tally]:
    """Return where trust gates look up what the world model has earned.

    That is the experience log with what every thread and every earlier process has recorded. Without a log it is
    the state of the thread alone.
    """
    from dyna_nodes import trust
    from dyna_nodes.experience import LoggedReliability

    if config.record is None:
        return trust.current
    name = None if world_model is None else str(getattr(world_model, "name", type(world_model).__name__))
    return LoggedReliability(config.folder / config.record.folder, model=name)


def _critic(
    config: DynaConfig,
    settings: AnyCritic,
    policy: BaseChatModel | None,
    earned: Callable[[], Tally],
    path: tuple[str | int, ...],
) -> Critic:
    from dyna_nodes import critics

    own = {
        key: value
        for key, value in settings
        if key not in ("critic", "tools", "trust", "model", "critics", "weights") and value is not None
    }
    made: Critic
    match settings:
        case ValueCriticSettings():
            made = critics.ValueCritic(**own)
        case OutcomeCriticSettings():
            made = critics.OutcomeCritic(**own)
        case RulesCriticSettings():
            made = critics.RuleCritic(**own)
        case HouseholdCriticSettings():
            made = critics.HouseholdCritic(**own)
        case JudgeCriticSettings():
            judge = policy if settings.model is None else chat_model(config, settings.model, *path, "model")
            if judge is None:
                raise config.problem("neither this judge nor the configuration names a 'model'", *path)
            made = critics.JudgeCritic(judge, **own)
        case TogetherCriticSettings():
            weights = settings.weights or (1.0,) * len(settings.critics)
            inner = [
                _critic(config, c, policy, earned, (*path, "critics", i))
                for i, c in enumerate(settings.critics)
            ]
            made = critics.Together([critics.Weighted(*pair) for pair in zip(inner, weights, strict=True)])
    return made if settings.trust is None else critics.TrustGate(made, **dict(settings.trust), source=earned)


def build_record(config: DynaConfig) -> ExperienceLog | None:
    """Return the experience log; None when nothing is to be recorded."""
    from dyna_nodes.experience import ExperienceLog, Retention

    if config.record is None:
        return None
    retention = None
    if config.record.days is not None or config.record.size is not None:
        retention = Retention(days=config.record.days, size=config.record.size)
    return ExperienceLog(config.folder / config.record.folder, config.record.level, retention=retention)


def _journal_of(config: DynaConfig) -> Path | str | Literal[False] | None:
    """Return where the journal is to lie; files are relative to the configuration's folder."""
    if not config.journal or "://" in config.journal or is_postgres(config.journal):
        return config.journal
    return config.folder / config.journal


def build_checkpointer(config: DynaConfig) -> Any:
    """Return the checkpointer; None when none is configured.

    Raises:
        ConfigError: Its package is missing, or its file or database cannot be opened.
    """
    if config.checkpointer is None:
        return None
    if config.checkpointer == MEMORY:
        from langgraph.checkpoint.memory import InMemorySaver

        return InMemorySaver()
    try:
        from dyna_graph.checkpoints import postgres_checkpointer, sqlite_checkpointer

        if config.checkpointer.startswith(POSTGRES):
            return postgres_checkpointer(config.checkpointer)
        return sqlite_checkpointer(config.folder / config.checkpointer.removeprefix(SQLITE))
    except DynaError as error:
        raise config.problem(str(error), "checkpointer") from error


def _refuse_asking_nobody(config: DynaConfig, checkpointer: Any) -> None:
    """Refuse settings that may ask a human where a run cannot wait for one."""
    if checkpointer is not None:
        return
    asking = [
        *(
            ("critique", key)
            for key in ("on_exhausted", "on_failure", "unmatched")
            if getattr(config.critique, key) == "escalate"
        ),
        *(("critic", i) for i, critic in enumerate(config.critic) if _may_escalate(critic)),
        *(
            ("tools", glob, key)
            for glob, tool in config.tools.items()
            for key in ("on_uncertain", "on_reject", "on_failure")
            if getattr(tool, key) == "escalate"
        ),
    ]
    if asking:
        message = "may ask a human, which needs a checkpointer; set checkpointer: memory, sqlite:FILE, or postgresql://…"
        raise config.problem(f"{_named(asking[0])} {message}", *asking[0])


def _may_escalate(critic: AnyCritic) -> bool:
    if critic.trust is not None and critic.trust.untrusted == "escalate":
        return True
    if isinstance(critic, TogetherCriticSettings):
        return any(_may_escalate(inner) for inner in critic.critics)
    return isinstance(critic, OutcomeCriticSettings) and critic.otherwise == "escalate"


def _named(path: Sequence[str | int]) -> str:
    from dyna_graph.config.source import dotted

    return repr(dotted(tuple(path)))


def _described(tool: Any) -> tuple[str, str]:
    """Return name and description of a tool or of a function that becomes one."""
    name = getattr(tool, "name", None) or getattr(tool, "__name__", type(tool).__name__)
    return str(name), str(getattr(tool, "description", None) or inspect.getdoc(tool) or "")


def _made(config: DynaConfig, make: Callable[..., WorldModel], given: Mapping[str, Any]) -> WorldModel:
    """Call ``make``; an unknown keyword or a refused value becomes an error that names the setting."""
    known = inspect.signature(make).parameters
    if not any(p.kind is p.VAR_KEYWORD for p in known.values()):
        for key in given:
            if key not in known:
                hint = suggestion(key, [k for k in known if k not in ("self", "model")], what="valid options")
                message = f"unknown option {key!r} of the world model; {hint}"
                raise config.problem(message, "world_model", "options", key)
    try:
        return make(**given)
    except (TypeError, ValueError, DynaError) as error:
        raise config.problem(f"the world model cannot be made: {error}", "world_model") from error
