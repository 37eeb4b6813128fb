"""Collections: what is recorded, that it is always the same, and that an interrupted one goes on."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from dyna_nodes.experience import trajectory_line
from dyna_nodes.experience.lines import load
from dyna_nodes.nouns import Trajectory
from dyna_nodes.testing import ScriptedChatModel, call
from dyna_training.behaviours import INVALID_RATE, MIXTURE, mixture, mixture_digest
from dyna_training.collect import CollectSettings, collect, plan
from dyna_training.collection import CollectError, Collection
from dyna_training.data import read_trajectories
from dyna_training.environments.alfworld import GameFileError
from dyna_training.environments.alfworld.generator import generate, write
from dyna_training.hosts import TaskError
from dyna_training.recording import Episode, ModelPlayer, Recorder, game_key, record_of
from dyna_training.rollouts import play
from dyna_training.tools import environment_tools
from dyna_training.workers import Pool
from tests.data import alfworld_data

FROZEN = "ec14be9012bdc2f8"


def settings(out: Path, **more: object) -> CollectSettings:
    return CollectSettings.model_validate(
        {"split": "generated", "out": out, "games": 3, "workers": 2, **more}
    )


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished collection of three households, by two workers."""
    out = tmp_path_factory.mktemp("data") / "mixture"
    manifest = collect(settings(out), command="dyna collect …")
    assert manifest["complete"]
    return out


def test_every_behaviour_plays_every_game(collection: Path) -> None:
    found = list(read_trajectories([collection]))
    assert len(found) == 9
    assert {t.provenance.policy for t in found} == set(MIXTURE)
    by_game: dict[str, list[Trajectory]] = {}
    for trajectory in found:
        by_game.setdefault(trajectory.provenance.environment, []).append(trajectory)
        behaviour = trajectory.provenance.policy
        seed = int(trajectory.provenance.environment.rpartition("_")[2])
        assert trajectory == play(generate(seed), behaviour, seed=0, split="generated")  # type: ignore[arg-type]
    assert [len(ts) for ts in by_game.values()] == [3, 3, 3]


def test_the_manifest_explains_the_folder(collection: Path) -> None:
    manifest = json.loads((collection / "manifest.json").read_text())
    found = list(read_trajectories([collection]))
    assert manifest["format"] == "dyna-collection/1"
    assert manifest["command"] == "dyna collect …"
    assert manifest["settings"]["seed"] == 0
    assert manifest["counts"]["episodes"] == 9
    assert manifest["counts"]["transitions"] == sum(len(t.transitions) for t in found)
    assert manifest["counts"]["success"] == sum(t.outcome == "success" for t in found)
    assert manifest["mixture"]["digest"] == FROZEN
    assert manifest["versions"]["dyna-graph"]


def test_the_mixture_is_frozen() -> None:
    """Figures name this digest; whoever changes the mixture changes what figures mean."""
    assert mixture_digest() == FROZEN
    assert mixture()["behaviours"] == ["expert", "noisy", "random"]
    assert INVALID_RATE == 0.05


def test_the_same_collection_has_the_same_bytes(collection: Path, tmp_path: Path) -> None:
    """However many workers there are, and also when it is stopped half way, with half a line, and goes on."""
    whole = (collection / "trajectories.jsonl").read_bytes()
    alone = tmp_path / "alone"
    assert collect(settings(alone, workers=1))["complete"]
    assert (alone / "trajectories.jsonl").read_bytes() == whole
    again = tmp_path / "again"
    shutil.copytree(collection, again)
    file = again / "trajectories.jsonl"
    first, second, *_ = whole.splitlines(keepends=True)
    file.write_bytes(second + first + whole[len(first + second) : len(whole) * 2 // 3])
    (again / "manifest.json").write_text((again / "manifest.json").read_text().replace("true", "false", 1))
    (again / ".trajectories.jsonl.x.partial").touch()
    seen: list[int] = []
    manifest = collect(settings(again), on_progress=lambda progress: seen.append(progress.done))
    assert manifest["complete"]
    assert file.read_bytes() == whole
    assert file.with_name("trajectories.jsonl.truncated").exists()
    assert not list(again.glob(".*.partial"))
    assert 0 < seen[0] < 9
    assert seen == list(range(seen[0], 10))
    assert collect(settings(again, games=1))["counts"]["episodes"] == 9
    assert file.read_bytes() == whole, "what a smaller plan does not have stays where it was"


def test_a_collection_of_an_earlier_version_goes_on(collection: Path, tmp_path: Path) -> None:
    """It had a file for each process."""
    old = tmp_path / "old"
    shutil.copytree(collection, old)
    whole = (old / "trajectories.jsonl").read_bytes().splitlines(keepends=True)
    (old / "trajectories.jsonl").unlink()
    (old / "worker-0.jsonl").write_bytes(b"".join(whole[:4]))
    assert collect(settings(old))["counts"]["episodes"] == 9
    assert (old / "worker-0.jsonl").read_bytes() == b"".join(whole[:4])
    assert (old / "trajectories.jsonl").read_bytes() == b"".join(whole[4:])
    assert len(list(read_trajectories([old]))) == 9


def test_more_games_extend_a_collection_and_other_settings_are_refused(
    collection: Path, tmp_path: Path
) -> None:
    out = tmp_path / "more"
    shutil.copytree(collection, out)
    assert plan(settings(out, games=4))[:9] == plan(settings(out))
    assert collect(settings(out, games=4, workers=1))["counts"]["episodes"] == 12
    for key, value in {"seed": 1, "max_steps": 20, "behaviours": ["expert"]}.items():
        with pytest.raises(CollectError, match=f"holds a collection with {key}"):
            collect(settings(out, **{key: value}))
    manifest = json.loads((out / "manifest.json").read_text())
    del manifest["settings"]["counterfactuals"]  # as an earlier version wrote it
    (out / "manifest.json").write_text(json.dumps(manifest))
    assert collect(settings(out, games=4))["counts"]["episodes"] == 12
    with pytest.raises(CollectError, match="holds a collection with counterfactuals 0, not 2"):
        collect(settings(out, counterfactuals=2))
    (out / "manifest.json").write_text("{")
    with pytest.raises(CollectError, match=r"manifest\.json cannot be read"):
        collect(settings(out))
    (out / "manifest.json").unlink()
    with pytest.raises(CollectError, match="trajectories and no manifest"):
        collect(settings(out))


def test_the_plan_leaves_out_what_another_collection_has(tmp_path: Path) -> None:
    first = {e.game for e in plan(settings(tmp_path, games=5))}
    rest = {e.game for e in plan(settings(tmp_path, games=5, skip=5))}
    assert len(first) == len(rest) == 5
    assert not first & rest
    twice = plan(settings(tmp_path, repeats=2, behaviours=["random"]))
    assert [(e.game, e.seed) for e in twice[:3]] == [
        ("generated:0", 0),
        ("generated:0", 1),
        ("generated:1", 0),
    ]
    with pytest.raises(CollectError, match="nobody plays"):
        plan(settings(tmp_path, behaviours=[]))
    with pytest.raises(CollectError, match="--games"):
        plan(settings(tmp_path, games=0))


def test_a_task_type_is_chosen_or_left_out(tmp_path: Path) -> None:
    def types(**more: object) -> list[str]:
        chosen = dict.fromkeys(e.game for e in plan(settings(tmp_path, games=8, **more)))
        return [generate(int(game.removeprefix("generated:"))).task_type for game in chosen]

    assert set(types(task_type="pick_two_obj_and_place")) == {"pick_two_obj_and_place"}
    others = types(without_task_type="pick_two_obj_and_place")
    assert len(others) == 8
    assert len(set(others)) > 1
    assert "pick_two_obj_and_place" not in others


@pytest.fixture
def official(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Four training games laid out as alfworld does, the second of them cut off in the middle."""
    root = tmp_path / "data"
    files = [write(root / "json_2.1.1" / "train", seed) for seed in range(4)]
    for number, file in enumerate(files):  # scenes of generated games are no official ones
        trial = file.parent
        task = trial.parent.name.rpartition("-")[0] + f"-{number + 3}"
        target = root / "json_2.1.1" / "train" / task / f"trial_{number}"
        target.parent.mkdir(exist_ok=True)
        trial.rename(target)
        files[number] = target / "game.tw-pddl"
        trial.parent.rmdir()
    files[1].write_text(files[1].read_text()[:5000])
    monkeypatch.setenv("ALFWORLD_DATA", str(root))
    return files


def test_a_corrupt_game_is_reported_and_the_rest_goes_on(official: list[Path], tmp_path: Path) -> None:
    wanted = settings(tmp_path / "out", split="train", games=0, behaviours=["expert"], workers=1)
    assert len(plan(wanted)) in (3, 4)  # a game may fall into dev_seen
    manifest = collect(wanted)
    assert not manifest["complete"]
    [failed] = manifest["failed"]
    assert failed["game"] == str(official[1])
    assert "truncated or corrupt" in failed["reason"]
    assert manifest["counts"]["episodes"] == len(plan(wanted)) - 1


def test_official_games_are_recorded_with_their_split(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALFWORLD_DATA", str(alfworld_data()))
    seen: set[str] = set()
    for split in ("train", "dev_seen", "dev_unseen", "valid_seen"):
        wanted = settings(tmp_path / split, split=split, games=20, behaviours=["expert"])
        episodes = plan(wanted)
        assert len(episodes) == 20 == len({e.game for e in episodes})
        recorder = Recorder(0, wanted.model_dump(mode="json"))
        record, line = recorder(episodes[0])
        assert record.key == episodes[0].key
        trajectory = load(Trajectory, line)
        assert trajectory.provenance.split == split
        assert trajectory.transitions[0].labels["return_to_go"] > 0
        games = {e.game for e in plan(settings(tmp_path, split=split, games=0, behaviours=["expert"]))}
        assert not games & seen
        seen |= games
    with pytest.raises(CollectError, match="fewer than the 100000 asked for"):
        plan(settings(tmp_path, split="train", games=100_000))


def test_missing_games_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALFWORLD_DATA", str(tmp_path))
    with pytest.raises(GameFileError, match="alfworld-download"):
        collect(settings(tmp_path / "out", split="train"))


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CollectError, match="cannot write"):
        collect(settings(tmp_path / "file" / "out"))


def test_a_manifest_that_cannot_be_written_loses_nothing(tmp_path: Path) -> None:
    out = tmp_path / "out"
    manifest, aside = out / "manifest.json", out / "aside"

    def block(_: object) -> None:
        if not aside.exists():
            manifest.rename(aside)
            manifest.mkdir()

    wanted = settings(out, games=1, behaviours=["expert"])
    with pytest.raises(CollectError, match="all episodes are recorded"):
        collect(wanted, on_progress=block)
    assert not list(out.glob(".*.partial")), "nothing half written is left"
    manifest.rmdir()
    aside.rename(manifest)
    assert collect(wanted)["complete"]
    assert len(list(read_trajectories([out]))) == 1


def test_only_a_policy_plays_several_episodes_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    widths = []

    class Idle(Pool[Any]):
        def __iter__(self) -> Iterator[Any]:
            widths.append((self._work.width, self._limit))
            return iter(())

    monkeypatch.setattr("dyna_training.collect.Pool", Idle)
    collect(settings(tmp_path / "experts", concurrency=5))
    collect(settings(tmp_path / "model", behaviours=[], policy="openai:x", concurrency=5))
    collect(settings(tmp_path / "short", time_limit=2))
    assert widths == [(1, 600), (5, 3600), (1, 2)]


def test_a_model_that_cannot_be_made_stops_the_collection(tmp_path: Path) -> None:
    unknown = settings(tmp_path / "a", behaviours=[], policy="local:smollm2+nothing", workers=1)
    with pytest.raises(CollectError, match=r"no adapter 'nothing'[\s\S]*0 of 3 episodes are recorded"):
        collect(unknown)


def test_a_recorder_plays_several_episodes_of_a_model_at_a_time(tmp_path: Path) -> None:
    both = threading.Barrier(2, timeout=20)

    class Meeting(ScriptedChatModel):
        def _generate(self, *args: Any, **kwargs: Any) -> Any:
            both.wait()  # broken unless the other episode asks at the same time
            return super()._generate(*args, **kwargs)

    recorder = Recorder(0, settings(tmp_path, max_steps=3).model_dump(mode="json"))
    [act] = environment_tools("dyna/ALFWorld-v0", max_steps=3)
    recorder.player = ModelPlayer("a model", Meeting(script=lambda _: call("act", command="look")), [act], 3)
    episodes = [Episode(f"generated:{seed}", "a model", 0) for seed in (5, 6)]
    with ThreadPoolExecutor(2) as threads:
        played = list(threads.map(recorder, episodes))
    assert [p.record.key for p in played] == [e.key for e in episodes]
    found = [load(Trajectory, p.line) for p in played]
    assert [[s.action.text for s in t.transitions] for t in found] == [["look"] * 3] * 2


IMAGINED = "Check: nothing is in my hand.\nIf I look: You see a desk 1."
BLOCK = {"type": "reasoning", "reasoning": IMAGINED}


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"content": f"<think>\n{IMAGINED}\n</think>"}, ""),
        ({"content": f"{IMAGINED}\n</think>\n\nI look."}, "\n\nI look."),
        ({"additional_kwargs": {"reasoning_content": IMAGINED}}, ""),
        ({"content": [BLOCK]}, ""),
        ({"content": [BLOCK, {"type": "text", "text": "I look."}]}, "\nI look."),
        ({"content": [{"type": "thinking", "thinking": IMAGINED, "signature": "x"}]}, ""),
    ],
)
def test_the_thinking_of_a_reasoning_model_is_recorded_in_whatever_form_it_comes(
    tmp_path: Path, fields: dict[str, Any], said: str
) -> None:
    message = call("act", command="look").model_copy(update=fields)
    recorder = Recorder(0, settings(tmp_path, max_steps=2).model_dump(mode="json"))
    [act] = environment_tools("dyna/ALFWorld-v0", max_steps=2)
    recorder.player = ModelPlayer("a model", ScriptedChatModel(script=lambda _: message), [act], 2)
    trajectory = load(Trajectory, recorder(Episode("generated:5", "a model", 0)).line)
    assert [step.thought for step in trajectory.transitions] == [f"{IMAGINED}{said}"] * 2


def test_thinking_that_looks_like_an_action_is_none(tmp_path: Path) -> None:
    quoted = call("act", command="look", content="<think>The task says:\n> go north</think>")
    recorder = Recorder(0, settings(tmp_path, max_steps=1).model_dump(mode="json"))
    [act] = environment_tools("dyna/ALFWorld-v0", max_steps=1)
    recorder.player = ModelPlayer("a model", ScriptedChatModel(script=[quoted]), [act], 1)
    trajectory = load(Trajectory, recorder(Episode("generated:5", "a model", 0)).line)
    assert trajectory.transitions[0].thought == "The task says:\n > go north"


def test_a_response_without_an_action_ends_the_episode_and_is_counted(tmp_path: Path) -> None:
    """A teacher that answers in prose is no teacher that failed at the game; the summary says so."""
    script = [call("act", command="look"), "I would open the fridge now."]
    recorder = Recorder(0, settings(tmp_path, max_steps=3).model_dump(mode="json"))
    [act] = environment_tools("dyna/ALFWorld-v0", max_steps=3)
    recorder.player = ModelPlayer("a model", ScriptedChatModel(script=script), [act], 3)
    record, line = recorder(Episode("generated:5", "a model", 0))
    assert (record.outcome, record.steps, record.unacted) == ("failure", 1, True)
    assert record_of(line) == record, "a collection that goes on knows it, too"
    collection = Collection(tmp_path)
    collection.recorded[record.key] = record
    assert collection.counts()["by_behaviour"]["a model"]["without_action"] == 1


def test_recorder_and_keys(tmp_path: Path) -> None:
    """An episode has one key: planned, recorded and read back."""
    recorder = Recorder(0, settings(tmp_path).model_dump(mode="json"))
    episode = Episode("generated:5", "expert", 3)
    record, line = recorder(episode)
    assert record.key == episode.key
    trajectory = load(Trajectory, line)
    assert trajectory_line(trajectory) == line
    assert record_of(line) == record
    assert game_key(trajectory.provenance.environment.partition(":")[2]) == "generated:5"
    assert game_key("/x/train/pick-Mug-2/trial_7/game.tw-pddl") == game_key("pick-Mug-2/trial_7")
    assert record_of(b'{"format": "something else"}') is None
    with pytest.raises(TaskError, match="no such game file"):
        recorder(Episode(str(tmp_path / "a" / "b" / "game.tw-pddl"), "expert", 0))
