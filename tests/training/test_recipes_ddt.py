"""What a policy learns from: selection, memory, rows that are divided, objectives; and what is said of the rest."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

pytest.importorskip("torch")

import torch
from safetensors.torch import load_file, save_file

from dyna_graph import cli
from dyna_nodes.codec import ChatCodec, Example
from dyna_nodes.experience import write_trajectory
from dyna_nodes.local.base import FINGERPRINT_FILE
from dyna_nodes.nouns import Action, Provenance, Trajectory, Transition
from dyna_training.recipes import ddt, policy, settings_of, train_of
from dyna_training.recipes.left_out import TOO_LONG, LeftOut, fitting
from dyna_training.sft import repeated
from tests.nodes.local.tiny_llama import tiny_model, tiny_tokenizer
from tests.nodes.rows import learned


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("base")
    tiny_model(hidden=24, max_position_embeddings=8192).save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def chat() -> ChatCodec:
    return ChatCodec(tiny_tokenizer())


def step(number: int, **more: Any) -> Transition:
    imagined = f"If I go to room {number}: You are in room {number}."
    return Transition(
        action=Action.command(f"go to room {number}"),
        thought=f"{imagined}\nSo I go to room {number}.",
        observation=f"You are in room {number}.",
        notes={
            "difference": f"I am in room {number}.",
            "critique": "Yes, it is so.",
            "critique_after": imagined,
        },
        **more,
    )


def episode(id: str, rooms: int = 4, game: str = "a", outcome: Any = "success") -> Trajectory:
    return Trajectory(
        id=id,
        task="Go to the last room.",
        outcome=outcome,
        transitions=tuple(step(i) for i in range(rooms)),
        provenance=Provenance(environment=f"rooms:{game}"),
    )


def write(file: Path, *trajectories: Trajectory) -> Path:
    for trajectory in trajectories:
        write_trajectory(file, trajectory)
    return file


def settings(recipe: str, base: str, data: Path, out: Path, **more: Any) -> Any:
    given = {"rank": 4, "dtype": "float32", "learning_rate": 1e-2, "accumulate": 1, "max_tokens": 2000}
    return settings_of(recipe)(**{"base": base, "data": [data], "out": out, **given, **more})


def flat(chat: ChatCodec, examples: Sequence[Example]) -> list[tuple[str, str]]:
    return [item for example in examples for item in learned(chat, example)]


def test_a_long_episode_is_divided_and_no_turn_loses_what_it_saw(chat: ChatCodec, tmp_path: Path) -> None:
    trajectory = episode("long", 12)
    wanted = settings("policy", "unused", tmp_path, tmp_path, memory="actions", max_tokens=100_000)
    whole = policy.examples([trajectory], chat, wanted, LeftOut())
    assert len(whole) == 1
    left_out = LeftOut()
    short = wanted.model_copy(update={"max_tokens": 1500})
    divided = policy.examples([trajectory], chat, short, left_out)
    assert 1 < len(divided) < 6
    assert all(len(e.ids) <= 1500 for e in divided)
    assert flat(chat, divided) == flat(chat, whole)
    assert left_out.counts() == {}
    assert left_out.figures == {"turns": 12, "turns_read_only": {}}
    left_out = LeftOut()
    shorter = wanted.model_copy(update={"max_tokens": 800})
    some = policy.examples([trajectory], chat, shorter, left_out)
    lost = left_out.counts()[TOO_LONG]
    assert 0 < lost < 12
    assert flat(chat, some) == flat(chat, whole)[: 12 - lost], "the turns whose own context is too long"
    assert left_out.records[0].record == f"long, turn {12 - lost}"
    assert left_out.records[0].detail.endswith(" tokens")
    left_out = LeftOut()
    thoughts = shorter.model_copy(update={"memory": "thoughts"})
    assert policy.examples([trajectory], chat, thoughts, left_out) == []
    assert left_out.counts() == {TOO_LONG: 1}


def test_rows_are_filled_and_only_what_is_too_long_alone_is_left_out() -> None:
    sizes = [3, 3, 3, 9, 2, 2, 2, 2, 20, 1]

    def encode(turns: Sequence[int]) -> Example:
        return Example([0] * sum(sizes[t] for t in turns), [], [], [])

    rows, too_long = fitting(range(10), encode, 9)
    assert [list(turns) for turns, _ in rows] == [[0, 1, 2], [3], [4, 5, 6, 7], [9]]
    assert [len(example.ids) for _, example in rows] == [9, 9, 8, 1]
    assert too_long == [8]
    assert fitting([], encode, 9) == ([], [])
    assert [list(turns) for turns, _ in fitting(range(10), encode, 1000)[0]] == [list(range(10))]


def test_the_objectives_of_a_long_episode_are_divided_too(chat: ChatCodec, tmp_path: Path) -> None:
    every = {"next_state": 1, "difference": 1, "critique": 1, "max_tokens": 100_000}
    for memory in ("thoughts", "actions"):
        wanted = settings("ddt", "unused", tmp_path, tmp_path, memory=memory, **every)
        whole, parts = LeftOut(), LeftOut()
        [one] = ddt.examples([episode("long", 8)], chat, wanted, whole)
        short = wanted.model_copy(update={"max_tokens": 3 * len(one.ids) // 4})
        divided = ddt.examples([episode("long", 8)], chat, short, parts)
        assert len(divided) > 1
        assert sorted(flat(chat, divided)) == sorted(learned(chat, one))
        assert whole.figures == parts.figures
        figures = whole.figures["objectives"]
        assert {o: f["examples"] for o, f in figures.items()} == dict.fromkeys(figures, 8)
        assert sum(f["target_tokens"] for f in figures.values()) == one.targets
        assert figures["critique"]["target_tokens"] == 8 * len("Yes, it is so.\n"), "a byte is a token"


def test_shares_are_drawn_from_the_seed_and_unusable_turns_are_reported(
    chat: ChatCodec, tmp_path: Path
) -> None:
    bare = episode("bare", 3).model_copy(
        update={"transitions": tuple(step(i).model_copy(update={"notes": {}}) for i in range(3))}
    )
    wanted = settings("ddt", "unused", tmp_path, tmp_path, next_state=0.5, critique=1)
    left_out = LeftOut()
    drawn = ddt.draw(bare, wanted, left_out)
    assert drawn["critique"] == drawn["difference"] == []
    assert left_out.counts() == {"no critique: its critique was not noted": 3}
    assert left_out.records[0].record == "bare, turn 0"
    many = episode("many", 200)
    first = ddt.draw(many, wanted, LeftOut())
    assert 70 < len(first["next_state"]) < 130
    assert len(first["critique"]) == 200
    assert first == ddt.draw(many, wanted, LeftOut())
    other = wanted.model_copy(update={"seed": 1})
    assert first["next_state"] != ddt.draw(many, other, LeftOut())["next_state"]


def test_ddt_goes_on_from_the_policy_and_reports_each_objective(base: str, tmp_path: Path) -> None:
    data = write(tmp_path / "data.jsonl", *(episode(f"e{i}", 3, game=str(i)) for i in range(4)))
    first = train_of("policy")(settings("policy", base, data, tmp_path / "dit", memory="actions"))
    assert first["turns"] == 12
    wanted = settings(
        "ddt",
        base,
        data,
        tmp_path / "ddt",
        adapter=tmp_path / "dit" / "adapter",
        memory="actions",
        critique=1,
        epochs=6,
    )
    metrics = train_of("ddt")(wanted)
    assert set(metrics["objectives"]) == {"next_state", "critique"}
    assert [f["examples"] for f in metrics["objectives"].values()] == [12, 12]
    assert metrics["target_tokens"] == sum(f["target_tokens"] for f in metrics["objectives"].values())
    assert metrics["target_tokens_seen"] == 6 * metrics["target_tokens"]
    lines = (tmp_path / "ddt" / "progress.jsonl").read_text().splitlines()
    losses = [json.loads(line)["loss"] for line in lines if '"loss"' in line]
    assert losses[-1] < 0.8 * losses[0]
    card = (tmp_path / "ddt" / "adapter" / "README.md").read_text()
    assert "objectives | critique: examples: 12; target_tokens: 180" in card
    assert train_of("ddt")(wanted) == metrics, "a finished run is not run again"
    weights = tmp_path / "dit" / "adapter" / "adapter_model.safetensors"
    save_file({name: 2 * tensor for name, tensor in load_file(weights).items()}, weights)
    with pytest.raises(ValueError, match="holds a run with adapter_digest"):
        train_of("ddt")(wanted)  # from an adapter that was trained again


def test_ddt_refuses_the_adapter_of_another_base(base: str, tmp_path: Path) -> None:
    data = write(tmp_path / "data.jsonl", episode("e", 2))
    train_of("policy")(settings("policy", base, data, tmp_path / "dit"))
    adapter = tmp_path / "dit" / "adapter"
    other = tmp_path / "other"
    tiny_model(hidden=48).save_pretrained(other)
    tiny_tokenizer().save_pretrained(other)
    with pytest.raises(ValueError, match="was trained on"):
        train_of("ddt")(settings("ddt", str(other), data, tmp_path / "ddt", adapter=adapter))
    (adapter / FINGERPRINT_FILE).unlink()
    with pytest.raises(ValueError, match="does not fit"):
        train_of("ddt")(settings("ddt", str(other), data, tmp_path / "ddt", adapter=adapter))
    with pytest.raises(ValueError, match="all weights"):
        settings("ddt", base, data, tmp_path / "ddt", adapter=adapter, method="full")


def test_training_ends_when_so_many_target_tokens_were_seen(base: str, tmp_path: Path) -> None:
    data = write(tmp_path / "data.jsonl", *(episode(f"e{i}", 2, game=str(i)) for i in range(3)))
    wanted = settings("policy", base, data, tmp_path / "run", target_tokens=1000, save_steps=2)
    metrics = train_of("policy")(wanted)
    one = metrics["target_tokens"] // 3
    assert 1000 <= metrics["target_tokens_seen"] < 1000 + one
    assert metrics["updates"] == -(-1000 // one)
    assert metrics["examples"] == 3


def test_target_tokens_are_counted_to_the_example(chat: ChatCodec) -> None:
    from dyna_nodes.codec.policy import policy_example

    some = [policy_example(chat, episode(str(n), n)) for n in (1, 2, 3)]
    total = sum(e.targets for e in some)
    assert len(repeated(some, total, 0)) == 3
    assert [len(e.ids) for e in repeated(some, 5 * total, 0)] == [
        len(e.ids) for e in repeated(some, 5 * total, 0)
    ]
    assert repeated(some, 5 * total, 0) != repeated(some, 5 * total, 1)
    with pytest.raises(ValueError, match="target token"):
        repeated([Example([1], [-100], [0], [0])], 10, 0)


def dyna(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(cli.app, list(arguments), prog_name="dyna")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


def test_what_cannot_be_used_is_reported_and_the_rest_goes_on(base: str, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    quoting = episode("quoting", 2, game="q").model_copy(
        update={"transitions": (step(0).model_copy(update={"thought": "> a quotation\nHm."}), step(1))}
    )
    noise = episode("noise", 1, game="n").model_copy(
        update={"transitions": (step(0, labels={"expert": 0.0}),)}
    )
    good = [episode("short", 2), episode("longer", 3), episode("lost", 2, game="b", outcome="failure")]
    file = write(folder / "0.jsonl", *good, quoting, noise, episode("too long", 40, game="l"))
    with file.open("a") as more:
        more.write('{"format": "dyna-trajectory/1", "id": 3}\n{"half of a li')
    (folder / "empty.jsonl").touch()
    options = {"base": base, "dtype": "float32", "rank": 4, "best_of": 2, "max_tokens": 900, "epochs": 2}
    given = [part for key, value in options.items() for part in ("--set", f"{key}={value}")]
    out = tmp_path / "run"
    code, text, _ = dyna("train", "policy", "--data", str(folder), "--out", str(out), *given)
    assert code == 0
    words = " ".join(text.split())
    assert "not used: did not end in success" in words
    metrics = json.loads((out / "metrics.json").read_text())
    records = [json.loads(line) for line in (out / "left_out.jsonl").read_text().splitlines()]
    reasons = {r["record"]: r["reason"] for r in records}
    assert reasons == {
        "0.jsonl:7": "not a trajectory",
        "0.jsonl:8": "the last line is incomplete",
        "empty.jsonl:0": "the file is empty",
        "lost": "did not end in success",
        "longer": "a shorter success of its task was kept",
        "noise": "no turn to imitate",
        "too long": TOO_LONG,
    }
    assert sum(metrics["not_used"].values()) == len(records)
    assert metrics["left_out"] == 1
    assert metrics["examples"] == 2
    assert metrics["turns"] == 3
    assert sum(metrics["turns_read_only"].values()) == 2
    assert metrics["selection"]["tasks without success"] == 1
    card = (out / "adapter" / "README.md").read_text()
    assert "did not end in success: 1" in card
    bad = tmp_path / "bad"
    bad.mkdir()
    write(bad / "0.jsonl", good[2])
    code, _, err = dyna("train", "policy", "--data", str(bad), "--out", str(out.with_name("none")), *given)
    assert code == 1
    assert "no example to train on: of the records, 1 did not end in success" in " ".join(err.split())
