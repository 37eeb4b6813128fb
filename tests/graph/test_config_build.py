"""The agent that a dyna.yaml describes really runs, and what cannot be built says which key is to blame."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import ToolMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver

from dyna_graph import plugins
from dyna_graph.config import ConfigError, DynaConfig
from dyna_graph.config.build import build_critic, build_record, build_world_model
from dyna_nodes import critics
from dyna_nodes.experience import ExperienceLog
from dyna_nodes.nouns import Action, Decision, History, ImaginedStep, Prediction, Query, Simulation, Verdict
from dyna_nodes.testing import ScriptedChatModel, ScriptedWorldModel, call
from dyna_nodes.world_models import ChatWorldModel

WORLD = '''
from dyna_nodes.nouns import Prediction


class World:
    """Predicts success for paths that do not hold a secret."""

    name = "acme"

    def __init__(self, *, secret: str, strict: bool = True) -> None:
        if not secret:
            raise ValueError("the secret must not be empty")
        self.secret = secret

    def predict(self, queries):
        return [
            Prediction(observation="gone", success=self.secret not in q.action.text, model=self.name)
            for q in queries
        ]

    async def apredict(self, queries):
        return self.predict(queries)
'''


def delete(path: str) -> str:
    """Delete a file for ever."""
    return f"deleted {path}"


def read(path: str) -> str:
    """Read a file."""
    return f"text of {path}"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with an installed world-model plugin; not the working directory, so that paths are tested."""
    info = tmp_path / "acme-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[dyna_graph.world_models]\nacme = acme_world:World\n")
    (tmp_path / "acme_world.py").write_text(WORLD)
    monkeypatch.syspath_prepend(str(tmp_path))
    plugins._points.cache_clear()
    yield tmp_path
    plugins._points.cache_clear()
    sys.modules.pop("acme_world", None)


def load(folder: Path, text: str) -> DynaConfig:
    (folder / "dyna.yaml").write_text(text, encoding="utf-8")
    return DynaConfig.from_file(folder / "dyna.yaml", environment={})


CAREFUL = """\
model: local:smollm2
world_model:
  kind: acme
  options: {secret: passwords}
critic:
  - {critic: outcome, tools: delete}
checkpointer: sqlite:state/runs.sqlite
record: {folder: log, level: power}
tools:
  delete: {irreversible: true}
  "*": {simulate: false}
"""


def tool_results(result: dict[str, Any]) -> list[str]:
    return [str(m.content) for m in result["messages"] if isinstance(m, ToolMessage)]


@pytest.mark.parametrize("mode", ["sync", "async"])
async def test_a_file_becomes_an_agent_that_looks_before_it_leaps(folder: Path, mode: str) -> None:
    policy = ScriptedChatModel(
        script=[
            call("delete", path="passwords"),
            call("delete", path="junk"),
            call("read", path="a"),
            "Done.",
        ]
    )
    agent = load(folder, CAREFUL).build([delete, read], model=policy)
    task = {"messages": [("user", "Tidy up.")]}
    config: RunnableConfig = {"configurable": {"thread_id": "1"}}
    result = agent.invoke(task, config) if mode == "sync" else await agent.ainvoke(task, config)
    refused, *done = tool_results(result)
    assert "no success predicted" in refused
    assert done == ["deleted junk", "text of a"]
    recorded = list(ExperienceLog(folder / "log").read())
    executed = [t for t in recorded if t.provenance.source == "agent"]
    assert [t.action.text for t in executed] == ['delete({"path": "junk"})', 'read({"path": "a"})']
    assert executed[0].prediction is not None
    assert executed[0].prediction.model == "acme"
    assert executed[1].prediction is None
    assert (folder / "state" / "runs.sqlite").is_file()
    assert agent.get_state(config).values["messages"][-1].content == "Done."


def test_shadow_stops_nothing(folder: Path) -> None:
    policy = ScriptedChatModel(script=[call("delete", path="passwords"), "Done."])
    agent = load(folder, CAREFUL + "mode: shadow\n").build([delete, read], model=policy)
    result = agent.invoke({"messages": [("user", "x")]}, {"configurable": {"thread_id": "1"}})
    assert tool_results(result) == ["deleted passwords"]


def test_settings_reach_the_loop(folder: Path) -> None:
    text = "model: local:smollm2\nsimulate: {candidates: 3}\nlimits: {max_steps: 2}\n"
    policy = ScriptedChatModel(script=lambda messages: call("read", path="a"))
    agent = load(folder, text).build([read], model=policy)
    result = agent.invoke({"messages": [("user", "x")]})
    assert len(policy.prompts) == 6  # three candidates in each of two turns
    assert len(tool_results(result)) == 2
    assert result["ended"]["kind"] == "max_steps"


def test_parts_given_in_code_replace_configured_ones(folder: Path) -> None:
    saver = InMemorySaver()
    policy = ScriptedChatModel(script=[call("delete", path="passwords"), "Done."])
    critic = critics.RuleCritic()
    agent = load(folder, CAREFUL).build(
        [delete, read],
        model=policy,
        world_model=ScriptedWorldModel(lambda query: Prediction(success=True)),
        critic=critic,
        checkpointer=saver,
        name="x",
    )
    result = agent.invoke({"messages": [("user", "x")]}, {"configurable": {"thread_id": "1"}})
    assert tool_results(result) == ["deleted passwords"]
    assert agent.name == "x"
    assert agent.checkpointer is saver
    assert not (folder / "state").exists()


ERRORS = {
    "unknown option of a plugin": (
        "world_model:\n  kind: acme\n  options:\n    secret: a\n    strikt: false\n",
        "dyna.yaml:6: unknown option 'strikt' of the world model; did you mean 'strict'?",
    ),
    "refused option of a plugin": (
        "world_model:\n  kind: acme\n  options: {secret: ''}\n",
        "dyna.yaml:2: the world model cannot be made: the secret must not be empty",
    ),
    "missing option of a plugin": (
        "world_model: acme\n",
        "dyna.yaml:2: the world model cannot be made: World.__init__() missing 1 required keyword-only "
        "argument: 'secret'",
    ),
    "adapter of the world model": (
        "world_model:\n  kind: trained\n  model: local:smollm2+gone\n",
        "dyna.yaml:4: no adapter 'gone': there is no such folder and no adapter is installed",
    ),
    "trained model without an adapter": (
        "world_model: {kind: trained, model: openai:x}\n",
        "dyna.yaml:2: a trained world model is a base with an adapter: write local:base+adapter or vllm:base+adapter, "
        "not 'openai:x'",
    ),
    "trained model on a server with options": (
        "world_model:\n  model: {name: vllm:smollm2+x, temperature: 1}\n",
        "dyna.yaml:3: a trained world model takes no temperature; its model is set where it is served",
    ),
    "trained model with a temperature": (
        "world_model:\n  kind: trained\n  model: {name: local:smollm2, temperature: 1}\n",
        "dyna.yaml:4: a trained world model takes no temperature; its model has the options dtype, "
        "device and merge only",
    ),
    "model of a judge": (
        "critic:\n  - critic: judge\n    model: opnai:x\n",
        "dyna.yaml:4: unknown provider 'opnai' in model 'opnai:x'; did you mean 'openai'?",
    ),
    "nobody to ask": (
        "critique:\n  on_failure: escalate\n",
        "dyna.yaml:3: 'critique.on_failure' may ask a human, which needs a checkpointer; set checkpointer: "
        "memory, sqlite:FILE, or postgresql://…",
    ),
    "nobody for a critic to ask": (
        "critic:\n  - {critic: value, tools: a}\n  - {critic: value, tools: b, trust: true}\n",
        "dyna.yaml:4: 'critic[1]' may ask a human, which needs a checkpointer; set checkpointer: memory, "
        "sqlite:FILE, or postgresql://…",
    ),
    "checkpoints nowhere": (
        "checkpointer: sqlite:dyna.yaml/runs.sqlite\n",
        "dyna.yaml:2: cannot keep checkpoints in",
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_what_cannot_be_built(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text, expected = ERRORS[name]
    monkeypatch.chdir(folder)
    monkeypatch.setattr("dyna_graph.models.shipped_adapters", dict)
    Path("dyna.yaml").write_text("model: local:smollm2\n" + text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        DynaConfig.from_file("dyna.yaml").build([read], model=ScriptedChatModel(script=[]))
    assert str(caught.value).startswith(expected)


def test_without_a_model_there_is_no_agent(tmp_path: Path) -> None:
    file = tmp_path / "dyna.yaml"
    file.write_text("mode: shadow\n")
    with pytest.raises(ConfigError, match=r"dyna\.yaml.*the key 'model' is missing"):
        DynaConfig.from_file(file).build([])


def test_two_tools_of_one_name_are_refused(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"dyna\.yaml:1: two tools are called 'read'"):
        load(folder, "model: local:smollm2\n").build([read, read], model=ScriptedChatModel(script=[]))


KINDS = {
    "value": critics.ValueCritic,
    "outcome": critics.OutcomeCritic,
    "judge": critics.JudgeCritic,
    "rules": critics.RuleCritic,
    "household": critics.HouseholdCritic,
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_setting_of_a_critic_can_be_configured_and_has_the_same_default(kind: str) -> None:
    [settings] = DynaConfig.from_dict({"model": "local:x", "critic": kind}).critic
    own = {k: v for k, v in settings if k not in ("critic", "tools", "trust", "model")}
    taken = {
        k: p.default
        for k, p in inspect.signature(KINDS[kind]).parameters.items()
        if k not in ("name", "tools", "model")
    }
    defaults = {k: None if k == "no_effect" else v for k, v in taken.items()}  # None: that of the critic
    assert own == defaults


def test_every_setting_of_a_trust_gate_has_the_same_default() -> None:
    [settings] = DynaConfig.from_dict(
        {"model": "local:x", "critic": {"critic": "value", "trust": True}}
    ).critic
    taken = inspect.signature(critics.TrustGate).parameters
    assert dict(settings.trust or ()) == {
        k: p.default for k, p in taken.items() if k not in ("critic", "source", "name")
    }


def judged(config: dict[str, Any], **prediction: Any) -> Verdict:
    critic = build_critic(DynaConfig.from_dict({"model": "local:x", **config}), ScriptedChatModel(script=[]))
    assert critic is not None
    action = Action(tool=prediction.pop("tool", "delete"))
    step = ImaginedStep(action=action, prediction=Prediction(**prediction))
    [verdict] = critic.judge(History(task=""), [Simulation(candidate=0, call_id="1", steps=(step,))])
    return verdict


def test_critics_are_chosen_by_tool() -> None:
    config: dict[str, Any] = {
        "critic": [{"critic": "outcome", "tools": ["delete*", "pay"]}, {"critic": "value", "tools": "act"}],
        "critique": {"unmatched": "reject"},
    }
    assert judged(config, success=False).decision is Decision.REJECT
    assert judged(config, tool="pay", success=True).critic == "outcome"
    assert judged(config, tool="act", value=0.5).score == 0.5
    assert judged(config, tool="other").reason == "no critic is named for the tool 'other'"


def test_critics_judge_together_with_weights() -> None:
    config = {"critic": {"critic": "together", "critics": ["value", "outcome"], "weights": [0.5, 2]}}
    assert judged(config, success=True, confidence=0.75).score == 0.5 * 1 + 2 * 0.75
    assert judged(config, value=0.5, success=False).decision is Decision.REJECT


def test_a_trust_gate_stands_before_its_critic() -> None:
    config = {"critic": {"critic": "value", "trust": {"untrusted": "reject"}}}
    verdict = judged(config, value=1.0)
    assert (verdict.decision, verdict.critic) == (Decision.REJECT, "trust")


def test_a_judge_without_a_model_is_the_policy() -> None:
    policy = ScriptedChatModel(script=['{"decision": "approve", "score": 0.25}'])
    critic = build_critic(DynaConfig.from_dict({"model": "local:x", "critic": "judge"}), policy)
    assert critic is not None
    step = ImaginedStep(action=Action(tool="a"), prediction=Prediction(observation="b"))
    [verdict] = critic.judge(History(task=""), [Simulation(candidate=0, call_id="1", steps=(step,))])
    assert verdict.score == 0.25


def test_a_prompted_world_model_knows_the_tools() -> None:
    pytest.importorskip("langchain_openai")
    config = DynaConfig.from_dict({"model": "local:x", "world_model": "vllm:mine"})
    world_model = build_world_model(config, [delete, read])
    assert isinstance(world_model, ChatWorldModel)
    prompt = world_model.prompt(Query(history=History(task="t"), action=Action(tool="read")))
    assert "delete: Delete a file for ever." in prompt[0].text


def test_what_is_recorded_can_be_bounded(tmp_path: Path) -> None:
    config = DynaConfig.from_dict(
        {"model": "local:x", "record": {"folder": str(tmp_path), "days": 7, "size": 1000}}
    )
    log = build_record(config)
    assert log is not None
    assert log.retention is not None
    assert (log.retention.days, log.retention.size) == (7, 1000)
