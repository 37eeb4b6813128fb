"""Binding: a verdict covers exactly one call of one tool after one history, for a while."""

from __future__ import annotations

import asyncio
import time
from typing import Annotated, Any

import pytest
from langchain_core.tools import BaseTool, InjectedToolArg, InjectedToolCallId, StructuredTool, tool
from langgraph.prebuilt import InjectedState

from dyna_nodes.guard import GuardedTool, Identities, Permit, Refused, bound_digest
from dyna_nodes.histories import Histories
from dyna_nodes.nouns import Action, Decision, History, Step, Verdict

STEPS = [
    Step(action=Action(tool="look", arguments={"where": w}), observation=f"You see {w} \udc80.")
    for w in "abc"
]


@tool
def look(where: str) -> str:
    """Look somewhere."""
    return f"You see {where}."


def permit(arguments: dict[str, Any], history: str = "h", tool: BaseTool = look, **options: Any) -> Permit:
    identities = Identities()
    digest = bound_digest(Action(tool=tool.name, arguments=arguments), history, identities.of(tool))
    return Permit(digest, options.get("now", history), options.get("expires_at"), identities)


def request(**arguments: Any) -> dict[str, Any]:
    return {"name": "look", "args": arguments, "id": "1", "type": "tool_call"}


def test_the_approved_call_runs_sync_and_async_and_once() -> None:
    guarded = GuardedTool.around(look, permit({"where": "a"}))
    assert guarded.invoke(request(where="a")).content == "You see a."
    with pytest.raises(Refused, match="executed already"):
        guarded.invoke(request(where="a"))
    guarded = GuardedTool.around(look, permit({"where": "a"}))
    assert asyncio.run(guarded.ainvoke(request(where="a"))).content == "You see a."
    with pytest.raises(Refused, match="executed already"):
        asyncio.run(guarded.ainvoke(request(where="a")))


@pytest.mark.parametrize("arguments", [{"where": "b"}, {}, {"where": "a", "more": 1}])
def test_any_other_call_is_refused(arguments: dict[str, Any]) -> None:
    guarded = GuardedTool.around(look, permit({"where": "a"}))
    with pytest.raises(Refused, match="exactly this call"):
        guarded.invoke(request(**arguments))
    with pytest.raises(Refused, match="exactly this call"):
        asyncio.run(guarded.ainvoke(request(**arguments)))


def test_another_history_is_refused() -> None:
    with pytest.raises(Refused):
        GuardedTool.around(look, permit({"where": "a"}, "before", now="after")).invoke(request(where="a"))


def test_an_expired_verdict_is_refused() -> None:
    with pytest.raises(Refused, match="expired"):
        GuardedTool.around(look, permit({"where": "a"}, expires_at=time.time() - 1)).invoke(
            request(where="a")
        )


def test_the_way_around_the_check_is_closed() -> None:
    guarded = GuardedTool.around(look, permit({"where": "a"}))
    with pytest.raises(Refused):
        guarded.run({"where": "b"})


def test_tools_of_one_name_differ_in_identity() -> None:
    def make(description: str) -> BaseTool:
        @tool("look", description=description)
        def other(where: str) -> str:
            return "something else"

        return other

    @tool("look", description="Look somewhere.")
    def wider(where: str, far: bool = False) -> str:
        return "something else"

    identities = Identities()
    found = {identities.of(t) for t in (look, make("Look somewhere."), make("Delete."), wider)}
    assert len(found) == 4
    assert identities.of(make("Delete.")) == identities.of(make("Delete.")), "the same in another process"


def test_arguments_that_the_graph_fills_in_are_no_part_of_the_binding() -> None:
    @tool
    def inspect(
        what: str,
        state: Annotated[dict[str, Any], InjectedState],
        call_id: Annotated[str, InjectedToolCallId],
    ) -> str:
        """Inspect."""
        return what

    identities = Identities()
    assert identities.injected(inspect) == {"state", "call_id"}
    check = permit({"what": "it"}, tool=inspect)
    check.check(inspect, {"what": "it", "state": {"messages": []}, "call_id": "1"})
    with pytest.raises(Refused):
        check.check(inspect, {"what": "that", "state": {}, "call_id": "1"})


def test_nor_are_they_for_tools_with_a_json_schema() -> None:
    """As those of MCP servers are: a runtime is filled in beside what the schema names."""

    async def run(runtime: Annotated[object | None, InjectedToolArg()] = None, **arguments: Any) -> str:
        return "ran"

    schema = {"type": "object", "properties": {"what": {"type": "string"}}, "required": ["what"]}
    remote = StructuredTool(name="inspect", description="Inspect.", args_schema=schema, coroutine=run)
    assert Identities().injected(remote) == {"runtime"}
    check = permit({"what": "it"}, tool=remote)
    check.check(remote, {"what": "it", "runtime": object()})
    with pytest.raises(Refused):
        check.check(remote, {"what": "it", "more": 1})


def test_the_digest_is_that_of_the_noun() -> None:
    """A verdict that was bound here is covered in the terms of the nouns, and the other way round."""
    histories = Histories()
    known = histories.start("s", "Task.")
    for step in STEPS:
        known = histories.extend("s", known, [step])
    history = History(task="Task.", steps=tuple(STEPS))
    assert known.history == history
    assert known.digest == history.digest
    identity, action = Identities().of(look), STEPS[0].action
    verdict = Verdict(decision=Decision.APPROVE, digest=bound_digest(action, known.digest, identity))
    assert verdict.covers(action, history, identity)
    assert verdict.digest == Verdict(decision=Decision.APPROVE).bind(action, history, identity).digest


def test_histories_are_found_again_from_the_state_alone() -> None:
    first, second = Histories(), Histories()
    known = first.extend("s", first.start("s", "Task."), STEPS)
    assert first.get("s", known.source) is known
    again = second.get("s", dict(known.source))
    assert (again.history, again.digest) == (known.history, known.digest)
    more = second.extend("s", again, STEPS[:1])
    assert more.digest == History(task="Task.", steps=(*STEPS, STEPS[0])).digest


def test_only_so_many_histories_are_remembered() -> None:
    histories = Histories(size=2)
    known = [histories.start(str(i), str(i)) for i in range(5)]
    assert len(histories._known) == 2
    assert histories.get("0", known[0].source).digest == known[0].digest
