"""Chat messages out and in: the project's own text, in the formats of Word2World and TRL."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dyna_nodes.codec.messages import policy_messages, read_system, world_model_messages
from dyna_nodes.codec.policy import POLICY_PROMPT
from dyna_nodes.nouns import Action, Counterfactual, History, Prediction, Trajectory
from dyna_training.data import read_trajectories
from dyna_training.store.chat import ChatFormat, ChatSettings, rows_of
from dyna_training.store.duplicates import REPEATED
from tests.training.store.anything import dyna, episode, written

FORMATS: list[ChatFormat] = ["word2world", "trl-sft", "trl-prompt-completion"]


def two() -> list[Trajectory]:
    task = "-= Welcome =-\n\nYou are in a room.\n\nYour task is to: put a mug on the shelf."
    call = episode("two", "look", "wait", game="x/2", won=False, task=task)
    action = Action(tool="search", arguments={"query": "naïve"})
    step = call.transitions[1].model_copy(update={"action": action})
    call = call.model_copy(update={"transitions": (call.transitions[0], step)})
    return [episode("one", "look", "take mug 1", "put mug 1 on shelf 1", game="x/1", task=task), call]


def rows(folder: Path) -> list[dict[str, Any]]:
    manifest = json.loads((folder / "manifest.json").read_text())
    text = (folder / manifest["file"]).read_text(encoding="utf-8")
    return (
        json.loads(text) if manifest["file"].endswith(".json") else [json.loads(x) for x in text.splitlines()]
    )


def exported(tmp_path: Path, *options: str, data: list[Trajectory] | None = None) -> list[dict[str, Any]]:
    lines = written(tmp_path / "in.jsonl", *(data or two()))
    code, said = dyna("data", "export", lines, *options, "--out", tmp_path / "out")
    assert code == 0, said
    return rows(tmp_path / "out")


# The texts are the codec's


@pytest.mark.parametrize("context", ["agent", "privileged"])
def test_messages_in_chatml_are_the_tokens_that_a_world_model_is_trained_on(context: Any) -> None:
    pytest.importorskip("torch")
    from dyna_nodes.codec import ChatCodec, WorldModelCodec
    from tests.nodes.local.tiny_llama import tiny_tokenizer

    chat = ChatCodec(tiny_tokenizer())
    for trajectory in two():
        messages = world_model_messages(trajectory, context=context)
        ids = [i for m in messages for i in chat.turn(m["role"], m["content"])]  # type: ignore[arg-type]
        assert ids == WorldModelCodec(chat).example(trajectory, context=context).ids


@pytest.mark.parametrize("thinking", ["full", "none"])
def test_messages_in_chatml_are_the_tokens_that_a_policy_is_trained_on(thinking: Any) -> None:
    pytest.importorskip("torch")
    from dyna_nodes.codec import ChatCodec
    from dyna_nodes.codec.policy import policy_example
    from tests.nodes.local.tiny_llama import tiny_tokenizer

    chat = ChatCodec(tiny_tokenizer())
    for trajectory in two():
        messages = policy_messages(trajectory, thinking=thinking)
        ids = [i for m in messages for i in chat.turn(m["role"], m["content"])]  # type: ignore[arg-type]
        assert ids == policy_example(chat, trajectory, thinking=thinking).ids


@pytest.mark.parametrize("framing", ["dyna", "word2world"])
@pytest.mark.parametrize("hidden", [None, "mug 1 is in fridge 1\nfridge 1 is closed"])
def test_the_system_turn_is_read_back(framing: Any, hidden: str | None) -> None:
    trajectory = two()[0].model_copy(update={"hidden_state": hidden})
    context: Any = "agent" if hidden is None else "privileged"
    [system, *_] = world_model_messages(trajectory, context=context, framing=framing)
    assert read_system(system["content"]) == History(task=trajectory.task, hidden_state=hidden)


def test_a_system_turn_of_somebody_else_is_a_task() -> None:
    assert read_system("You are in a kitchen.") == History(task="You are in a kitchen.")


# Formats


def test_word2world_is_a_list_of_conversations(tmp_path: Path) -> None:
    [one, call] = exported(tmp_path, "--format", "word2world")
    assert one["id"] == "one"
    assert one["messages"] == [
        {"role": "system", "content": two()[0].task},
        {"role": "user", "content": "look"},
        {"role": "assistant", "content": "You look."},
        {"role": "user", "content": "take mug 1"},
        {"role": "assistant", "content": "You take mug 1."},
        {"role": "user", "content": "put mug 1 on shelf 1"},
        {"role": "assistant", "content": "You put mug 1 on shelf 1. [SUCCESS]"},
    ]
    assert call["messages"][3] == {"role": "user", "content": 'search({"query": "naïve"})'}
    info = json.loads((tmp_path / "out" / "dataset_info.json").read_text())
    assert (tmp_path / "out" / info["word2world"]["file_name"]).is_file()


def test_word2world_shows_the_hidden_state_as_the_paper_does(tmp_path: Path) -> None:
    [one, _] = exported(tmp_path, "--format", "word2world", "--context", "privileged")
    assert one["messages"][0]["content"] == (
        "# Environment Information (Only visible to Assistant)\n\nstate of x/1\n\n"
        f"# User Environment Information (Displayed to User)\n\n{two()[0].task}\n"
    )


def test_a_row_per_step_has_the_conversation_before_it(tmp_path: Path) -> None:
    found = exported(tmp_path, "--format", "trl-prompt-completion")
    assert [(row["id"], row["step"]) for row in found] == [
        ("one", 0),
        ("one", 1),
        ("one", 2),
        ("two", 0),
        ("two", 1),
    ]
    assert [m["role"] for m in found[1]["prompt"]] == ["system", "user", "assistant", "user"]
    assert found[1]["completion"] == [{"role": "assistant", "content": "You take mug 1."}]


def test_a_policys_row_per_step(tmp_path: Path) -> None:
    noisy = two()[0]
    first, second, third = noisy.transitions
    noisy = noisy.model_copy(
        update={"transitions": (first, second.model_copy(update={"labels": {"expert": 0.0}}), third)}
    )
    found = exported(
        tmp_path, "--format", "trl-prompt-completion", "--for", "policy", "--memory", "actions", data=[noisy]
    )
    assert [row["step"] for row in found] == [0, 2]
    assert found[1]["completion"] == [{"role": "assistant", "content": "I look.\n> put mug 1 on shelf 1"}]
    assert [m["content"] for m in found[1]["prompt"]] == [
        POLICY_PROMPT, noisy.task, "> look", "You look.", "> take mug 1", "You take mug 1.",
    ]  # fmt: skip


def test_steps_that_stand_in_an_episode_before_are_context_only() -> None:
    one = two()[0]
    first = one.transitions[0].model_copy(update={"labels": {REPEATED: 1.0}})
    one = one.model_copy(update={"transitions": (first, *one.transitions[1:])})
    assert [row["step"] for row in rows_of(one, ChatSettings(format="trl-prompt-completion"))] == [1, 2]


def test_a_world_models_preferences_are_what_happened_over_what_it_said(tmp_path: Path) -> None:
    one = two()[0]
    said = ["You look.", "Nothing happens.", "You put mug 1 on shelf 1."]
    steps = tuple(
        step.model_copy(update={"prediction": Prediction(observation=text)})
        for step, text in zip(one.transitions, said, strict=True)
    )
    found = exported(
        tmp_path, "--format", "trl-preference", data=[one.model_copy(update={"transitions": steps})]
    )
    assert [(r["chosen"][0]["content"], r["rejected"][0]["content"]) for r in found] == [
        ("You take mug 1.", "Nothing happens."),
        ("You put mug 1 on shelf 1. [SUCCESS]", "You put mug 1 on shelf 1."),
    ]


def test_a_policys_preferences_are_actions_with_larger_returns(tmp_path: Path) -> None:
    one = two()[0]
    others = [("wait", 0.2), ("open door", 0.9), ("sing", 0.5)]
    tried = tuple(
        Counterfactual(action=Action.command(a), observation="x", labels={"return_to_go": v})
        for a, v in others
    )
    step = one.transitions[0].model_copy(update={"labels": {"return_to_go": 0.5}, "counterfactuals": tried})
    one = one.model_copy(update={"transitions": (step,)})
    found = exported(tmp_path, "--format", "trl-preference", "--for", "policy", data=[one])
    assert [(r["chosen"][0]["content"], r["rejected"][0]["content"]) for r in found] == [
        ("> look", "> wait"),
        ("> open door", "> look"),
    ]


def test_what_cannot_be_exported_says_why(tmp_path: Path) -> None:
    lines = written(
        tmp_path / "in.jsonl", *two(), two()[0].model_copy(update={"id": "x", "hidden_state": None})
    )

    def said(*options: str) -> str:
        code, message = dyna("data", "export", lines, *options, "--out", tmp_path / "out")
        assert code == 1
        assert not (tmp_path / "out").exists()
        return message

    assert "dyna collect --counterfactuals 2" in said("--format", "trl-preference", "--for", "policy")
    assert "trajectory x has no hidden state" in said("--format", "trl-sft", "--context", "privileged")
    assert "a format for world models" in said("--format", "word2world", "--for", "policy")


# And back


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("context", ["agent", "privileged"])
def test_a_world_models_episodes_come_back(tmp_path: Path, format: ChatFormat, context: str) -> None:
    exported(tmp_path, "--format", format, "--context", context)
    code, said = dyna("data", "import", tmp_path / "out", "--format", format, "--out", tmp_path / "back")
    assert (code, said) == (0, f"2 episodes, 5 steps in {tmp_path / 'back'}\n")
    back = list(read_trajectories([tmp_path / "back"]))
    for before, after in zip(two(), back, strict=True):
        assert (after.id, after.task, after.provenance.environment) == (
            before.id, before.task, before.provenance.environment,
        )  # fmt: skip
        assert [(s.action, s.observation) for s in after.transitions] == [
            (s.action, s.observation) for s in before.transitions
        ]
        assert after.hidden_state == (before.hidden_state if context == "privileged" else None)
    assert [t.outcome for t in back] == ["success", "unknown"]
    assert [world_model_messages(t) for t in back] == [world_model_messages(t) for t in two()]


@pytest.mark.parametrize("format", FORMATS)
def test_rewards_and_ends_come_back_and_no_later_row_tells_them(tmp_path: Path, format: ChatFormat) -> None:
    one, other = two()
    gained = [(0.25, False), (0.0, False), (-1.0, True)]
    steps = tuple(
        step.model_copy(update={"reward": reward, "done": done})
        for step, (reward, done) in zip(one.transitions, gained, strict=True)
    )
    found = exported(
        tmp_path, "--format", format, data=[one.model_copy(update={"transitions": steps}), other]
    )
    if format == "trl-prompt-completion":
        assert found[0]["completion"][0]["content"] == "You look. [REWARD 0.25]"
        assert found[1]["prompt"][2]["content"] == "You look."
    assert dyna("data", "import", tmp_path / "out", "--format", format, "--out", tmp_path / "back")[0] == 0
    back, _ = read_trajectories([tmp_path / "back"])
    assert [(s.observation, s.reward, s.done) for s in back.transitions] == [
        ("You look.", 0.25, None),
        ("You take mug 1.", None, None),
        ("You put mug 1 on shelf 1.", -1.0, True),
    ]
    assert back.outcome == "failure"


def test_rows_of_a_policy_that_forgets_its_thinking_are_one_episode(tmp_path: Path) -> None:
    options = ("--format", "trl-prompt-completion", "--for", "policy")
    shown = exported(tmp_path, *options, "--memory", "actions")
    assert shown[1]["prompt"][2]["content"] == "> look"
    assert shown[0]["completion"][0]["content"] == "I look.\n> look"
    assert dyna("data", "import", tmp_path / "out", *options, "--out", tmp_path / "back")[0] == 0
    back = list(read_trajectories([tmp_path / "back"]))
    assert [policy_messages(t)[:-1] for t in back] == [policy_messages(t)[:-1] for t in two()]


@pytest.mark.parametrize(("format", "last"), [("trl-sft", "ok"), ("trl-prompt-completion", "unknown")])
def test_a_policys_episodes_come_back(tmp_path: Path, format: ChatFormat, last: str) -> None:
    """What followed the last response stands in no row of prompt and completion."""
    exported(tmp_path, "--format", format, "--for", "policy")
    command = (
        "data",
        "import",
        tmp_path / "out",
        "--format",
        format,
        "--for",
        "policy",
        "--out",
        tmp_path / "back",
    )
    assert dyna(*command)[0] == 0
    for before, after in zip(two(), read_trajectories([tmp_path / "back"]), strict=True):
        assert policy_messages(after)[:-1] == policy_messages(before)[:-1]
        assert (policy_messages(after) == policy_messages(before)) == (last == "ok")
        assert [s.status for s in after.transitions] == ["ok"] * (len(before.transitions) - 1) + [last]


def test_a_world_models_preferences_come_back_as_predictions(tmp_path: Path) -> None:
    one = two()[0]
    step = one.transitions[1].model_copy(update={"prediction": Prediction(observation="No.", success=False)})
    one = one.model_copy(update={"transitions": (one.transitions[0], step)})
    exported(tmp_path, "--format", "trl-preference", data=[one])
    out = tmp_path / "back"
    assert (
        dyna(
            "data", "import", tmp_path / "out", "--format", "trl-preference", "--to", "parquet", "--out", out
        )[0]
        == 0
    )
    [found] = read_trajectories([out])
    assert found.transitions[1].prediction == step.prediction
    assert found.transitions[1].observation == "You take mug 1."


def test_a_policys_preferences_come_back_as_episodes_that_end_with_the_chosen_action(tmp_path: Path) -> None:
    one = two()[0]
    tried = Counterfactual(action=Action.command("wait"), observation="x", labels={"return_to_go": 0.1})
    last = one.transitions[1].model_copy(
        update={"labels": {"return_to_go": 0.5}, "counterfactuals": (tried,)}
    )
    one = one.model_copy(update={"transitions": (one.transitions[0], last)})
    exported(tmp_path, "--format", "trl-preference", "--for", "policy", data=[one])
    command = ("data", "import", tmp_path / "out", "--format", "trl-preference", "--for", "policy")
    assert dyna(*command, "--out", tmp_path / "back")[0] == 0
    [found] = read_trajectories([tmp_path / "back"])
    assert [(s.action.text, s.status) for s in found.transitions] == [
        ("look", "ok"),
        ("take mug 1", "unknown"),
    ]


def test_rows_that_are_no_episode_are_reported_and_the_others_kept(tmp_path: Path) -> None:
    good = {"id": "good", "messages": world_model_messages(two()[0])}
    twisted = {"id": "twisted", "messages": good["messages"][::-1]}
    bare = {"id": "bare"}
    file = tmp_path / "x.json"
    file.write_text(json.dumps([good, twisted, bare, 3]))
    code, said = dyna("data", "import", file, "--format", "word2world", "--out", tmp_path / "back")
    assert code == 0
    assert "twisted: expected user and assistant in turn" in said
    assert "row 3: no word2world: KeyError: 'messages'" in said
    assert "row 4: no word2world: TypeError: expected an object, found int" in said
    assert [t.id for t in read_trajectories([tmp_path / "back"])] == ["good"]


def test_rows_with_one_id_are_one_episode_only_if_they_are_the_same(tmp_path: Path) -> None:
    one, other = (world_model_messages(t) for t in two())
    rows = [
        {"id": 1, "messages": one},
        {"id": 1, "messages": other},
        {"id": 1, "messages": one},
        {"messages": one},
    ]
    (tmp_path / "x.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    code, said = dyna(
        "data", "import", tmp_path / "x.jsonl", "--format", "trl-sft", "--out", tmp_path / "back"
    )
    assert (code, said) == (0, f"3 episodes, 8 steps, 1 rows read before in {tmp_path / 'back'}\n")
    found = list(read_trajectories([tmp_path / "back"]))
    assert [world_model_messages(t) for t in found] == [one, other, one]
    assert len({step.id for t in found for step in t.transitions}) == 8


def test_an_episode_that_another_one_begins_as_comes_back_too(tmp_path: Path) -> None:
    short = episode("short", "look", game="x/1", won=False)
    long = episode("long", "look", "take mug 1", game="x/1", won=False)
    exported(tmp_path, "--format", "trl-prompt-completion", data=[short, long])
    folder = tmp_path / "out"
    code, said = dyna(
        "data", "import", folder, "--format", "trl-prompt-completion", "--out", tmp_path / "back"
    )
    assert code == 0, said
    found = list(read_trajectories([tmp_path / "back"]))
    assert [(t.id, len(t.transitions)) for t in found] == [("short", 1), ("long", 2)]


def test_a_folder_that_is_being_written_is_not_imported(tmp_path: Path) -> None:
    row = json.dumps({"id": "one", "messages": world_model_messages(two()[0])})
    for name in ("in/x.jsonl", "in/.out.1.partial/x.jsonl"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(row.replace("one", name))
    code, said = dyna("data", "import", tmp_path / "in", "--format", "trl-sft", "--out", tmp_path / "back")
    assert code == 0, said
    assert [t.id for t in read_trajectories([tmp_path / "back"])] == ["in/x.jsonl"]


def test_a_list_that_breaks_off_and_bytes_that_are_no_utf8(tmp_path: Path) -> None:
    good = json.dumps({"id": "good", "messages": world_model_messages(two()[0])})
    (tmp_path / "cut.json").write_text(f"[{good}, {good[:100]}")
    code, said = dyna(
        "data", "import", tmp_path / "cut.json", "--format", "word2world", "--out", tmp_path / "1"
    )
    assert code == 0
    assert "the list breaks off here" in said
    (tmp_path / "latin.json").write_bytes(f"[{good}]".replace("You look", "You loök").encode("latin-1"))
    code, said = dyna(
        "data", "import", tmp_path / "latin.json", "--format", "word2world", "--out", tmp_path / "2"
    )
    assert code == 1
    assert "codec can't decode byte" in said
    assert not (tmp_path / "2").exists()


def test_files_that_are_not_there(tmp_path: Path) -> None:
    said = dyna("data", "import", tmp_path / "nothing", "--format", "trl-sft", "--out", tmp_path / "out")[1]
    assert "there is no file of chat messages" in said
    (tmp_path / "x.json").write_text("[]")
    said = dyna("data", "import", tmp_path / "x.json", "--format", "trl-sft", "--out", tmp_path / "out")[1]
    assert "is --format trl-sft right?" in said
