"""An environment as a LangChain tool, so that agents and graphs know nothing but tools.

    [act] = environment_tools("dyna/ALFWorld-v0", split="dev_seen")
    agent = create_dyna_agent(model, [act], world_model=EnvironmentWorldModel([act]))
    agent.invoke({"messages": [task_message(act, seed=3)]}, {"configurable": {"thread_id": "1"}})

The tool is named ``act`` and takes one ``command``; an environment whose actions are calls of functions can offer a
tool for each instead:

    tools = environment_tools("dyna/BFCL-v0", functions=True, split="dev", signatures=False)
    agent.invoke({"messages": [task_message(tools[0], seed=3)]}, {"configurable": {"thread_id": "1"}})

Reward and end flag travel in the artifact of a call's `ToolMessage`. The conversation's first message carries the
`Episode`, so that a checkpoint holds all that a restart needs.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

from langchain_core.messages import HumanMessage
from langchain_core.tools import StructuredTool
from pydantic import BaseModel, Field

from dyna_nodes.nouns import COMMAND_TOOL, new_id
from dyna_training.acting import EPISODE, Acting
from dyna_training.environments.adapted import AdaptedEnv
from dyna_training.environments.base import ForkableEnv
from dyna_training.sessions import Episode, Sessions, draw_seed

DESCRIPTION = "Send one command to the environment and observe what happens."


class Command(BaseModel):
    """Arguments of the tool."""

    command: str = Field(description="The command, for example: open fridge 1")


class EnvironmentTool(StructuredTool):
    """A tool of a text environment, ``act`` or that of one function; made by `environment_tools`.

    Its calls must run one after another: ``metadata["sequential"]`` says so to the loop, and of several calls
    in one message that a graph runs at once, only the first is executed and the others are answered with a
    hint.

    Attributes:
        sessions: The live sessions, by thread and namespace; all tools of an environment share them.
        environment: Gymnasium id, where there is one.
    """

    sessions: Sessions = Field(exclude=True)
    environment: str = ""


def environment_tools(
    environment: str | Callable[[], ForkableEnv],
    *,
    limit: int = 256,
    description: str = DESCRIPTION,
    functions: bool = False,
    **options: Any,
) -> list[EnvironmentTool]:
    """Return the tools with which an agent acts in an environment: one, named ``act``, or one for each function.

    Args:
        environment: A gymnasium id, such as ``dyna/ALFWorld-v0``, or a function that makes an environment.
        limit: How many sessions are live at once; those of environments on machines have a machine each.
        description: What the policy is told about the tool ``act``.
        functions: Return a tool for each function of the environment, named and documented as the function is.
        **options: Options of the environment, when it is given by its id.

    Raises:
        ValueError: Options are given beside a function, or the environment has no functions to return tools of.
        gymnasium.error.Error: There is no such environment.
    """
    if not isinstance(environment, str) and options:
        raise ValueError(
            f"options {sorted(options)} are for environments given by id; give them to your function"
        )
    make: Callable[[], ForkableEnv]
    if isinstance(environment, str):
        name, make = environment, functools.partial(make_environment, environment, **options)
    else:
        name, make = "", environment
    sessions = Sessions(make, limit)
    offered = make().functions() if functions else ()
    if functions and not offered:
        raise ValueError(f"{name or 'the environment'} has no functions; its only tool is {COMMAND_TOOL!r}")
    acting = Acting(sessions, frozenset(function.name for function in offered))
    tool = functools.partial(
        EnvironmentTool,
        response_format="content_and_artifact",
        metadata={"sequential": True},
        sessions=sessions,
        environment=name,
    )
    if not offered:
        return [tool(name=COMMAND_TOOL, description=description, args_schema=Command, func=acting.act)]
    return [
        tool(
            name=function.name,
            description=function.description,
            args_schema=dict(function.parameters),
            func=acting.calling(function.name),
        )
        for function in offered
    ]


def make_environment(environment: str, **options: Any) -> ForkableEnv:
    """Make an environment by its id: one that an installed package announces, or any that gymnasium knows.

    One of gymnasium's that cannot be forked, and whose actions are text, is adapted (`AdaptedEnv`).

    Raises:
        PluginError: The package that announces it cannot be loaded.
        gymnasium.error.Error: There is no such environment.
        TypeError: It cannot be forked, and its actions are no text.
    """
    import gymnasium

    from dyna_graph.plugins import ENVIRONMENTS, load_plugin, plugin_names

    if environment in plugin_names(ENVIRONMENTS):
        made = load_plugin(ENVIRONMENTS, environment)(**options)
    else:
        made = gymnasium.make(environment, **options).unwrapped
        if isinstance(made.action_space, gymnasium.spaces.Text) and not isinstance(made, ForkableEnv):
            return AdaptedEnv(environment, **options)
    if not isinstance(made, ForkableEnv):
        raise TypeError(
            f"{environment!r} is a {type(made).__name__}, not a ForkableEnv: it has no fork(). Give its actions names: "
            f"environment_tools(lambda: AdaptedEnv({environment!r}, actions=(…)))"
        )
    return made


def task_message(
    tool: EnvironmentTool,
    *,
    seed: int | None = None,
    options: Mapping[str, Any] | None = None,
    preface: str = "",
) -> HumanMessage:
    """Return the message that begins an episode: the first observation, with the episode to find it again.

    Args:
        tool: The environment's tool.
        seed: Seed of the reset; drawn when None.
        options: Options of the reset; JSON values, such as ``{"game": path}``.
        preface: Text in front of the observation.
    """
    seed = draw_seed() if seed is None else seed
    episode = Episode(environment=tool.environment, seed=seed, options=dict(options or {}))
    task = tool.sessions.begin(episode).task
    text = f"{preface}\n\n{task}" if preface else task
    return HumanMessage(text, additional_kwargs={EPISODE: episode.model_dump(mode="json")}, id=new_id())
