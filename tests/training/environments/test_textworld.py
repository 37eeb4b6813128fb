"""TextWorld games: their names, how they are made and kept, what is read of them, what their experts know."""

from __future__ import annotations

import importlib.util
import json
import os
import random
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from dyna_training.environments import GameFileError
from dyna_training.environments.textworld import (
    KINDS,
    SPLITS,
    GameNameError,
    GameSpec,
    TextWorldEnv,
    TextWorldMissing,
    cache,
    game_file,
    games,
)
from dyna_training.environments.textworld.text import NOT_UNDERSTOOD, command, read
from tests.training.environments.textworld_games import GAMES, needs_textworld

COOKING = GAMES[-1]

# Names and splits


@pytest.mark.parametrize(
    "name", ["coin_collector/level=105/3", "cooking/go=1,recipe=2/7", "custom/9", "simple/goal=brief/0"]
)
def test_a_name_says_everything(name: str) -> None:
    assert str(GameSpec.parse(name)) == name
    assert GameSpec.parse(str(GameSpec.parse(name))) == GameSpec.parse(name)


def test_a_default_need_not_be_said() -> None:
    assert GameSpec.parse("custom/rooms=4/9") == GameSpec.parse("custom/9")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("coin_colector/3", "did you mean 'coin_collector'"),
        ("cooking/tak=1/3", "no setting 'tak'; did you mean 'take'"),
        ("cooking/recipe=1,take=3/3", r"take \(3\) is more than recipe \(1\)"),
        ("cooking/go=7/3", "go of cooking cannot be 7; it is one of 1, 6, 9, 12"),
        ("coin_collector/level=200/3", "at most 100 rooms"),
        ("simple/goal=short/3", "no goal 'short'"),
        ("custom/rooms/3", "'rooms' is no setting; write name=value"),
        ("custom/-3", "expected kind/settings/seed"),
        ("custom/99999999999", "the seed of a game is a number"),
        ("game.json", r"or the path of a \.z8 file"),
        ("", "expected kind/settings/seed"),
    ],
)
def test_a_wrong_name_is_explained(name: str, message: str) -> None:
    with pytest.raises(GameNameError, match=message):
        GameSpec.parse(name)
    with pytest.raises(GameNameError):
        TextWorldEnv(games=[name])


def test_splits_share_no_game_and_have_each_kind_equally_often() -> None:
    seeds: set[int] = set()
    for split in SPLITS:
        found = games(split)
        assert found == games(split)
        assert seeds.isdisjoint(spec.seed for spec in found)
        seeds |= {spec.seed for spec in found}
        kinds = ["simple"] if split == "unseen_kind" else [k for k in KINDS if k != "simple"]
        assert [spec.kind for spec in found[:8]] == (kinds * 8)[:8]


def test_larger_games_are_larger_than_any_trained_on() -> None:
    def largest(split: str, kind: str, setting: str) -> list[int]:
        return [int(s.all_settings[setting]) for s in games(split) if s.kind == kind]  # type: ignore[arg-type]

    for kind, setting in (("treasure_hunter", "level"), ("cooking", "go"), ("custom", "length")):
        assert min(largest("larger", kind, setting)) > max(largest("train", kind, setting))
    # Levels from 101 on are rooms beside the way; the way is the last two digits.
    assert min(n % 100 for n in largest("larger", "coin_collector", "level")) > max(
        n % 100 for n in largest("train", "coin_collector", "level")
    )


# Text


def test_an_answer_is_read_without_what_surrounds_it() -> None:
    raw = (
        "\n[opening the antique trunk]\nYou open the antique trunk, revealing an old key.   \n"
        "[opening the antique trunk - succeeded]\n\n\n\n<score>\n2\n</score><moves>\n3\n</moves>\n"
        ">" + " " * 130 + "-= Bedroom =-2/4"
    )
    answer = read(raw)
    assert answer.text == "You open the antique trunk, revealing an old key."
    assert (answer.events, answer.score) == (("opening the antique trunk",), 2)
    assert not answer.won
    assert not answer.lost


def test_the_end_is_read() -> None:
    raw = (
        "\nYou eat the meal. Not bad.\n\n\nYour score has just gone up by one point.\n\n\n"
        + " " * 55
        + "*** The End ***\n\nYou scored 8 out of a possible 8, in 16 turns.\n\n\n"
        "Would you like to RESTART, RESTORE a saved game, QUIT or UNDO the last command?\n>   -= Kitchen =-7/15"
    )
    answer = read(raw)
    assert answer.won
    assert answer.text.endswith("*** The End ***\n\nYou scored 8 out of a possible 8, in 16 turns.")
    assert read(raw.replace("*** The End ***", "*** You lost! ***")).lost


@pytest.mark.parametrize(
    "action",
    [
        "quit",
        "Restart",
        "save",
        "undo",
        "print_state",
        "tw-print state",
        "enable print state option",
        "verbose",
    ],
)
def test_what_is_about_the_program_is_not_sent(action: str) -> None:
    assert command(action) == ("", NOT_UNDERSTOOD)
    assert command(f"look. {action}") == ("", NOT_UNDERSTOOD)
    assert command(f"look then {action}") == ("", NOT_UNDERSTOOD)


def test_a_command_is_sent_in_one_plain_line() -> None:
    assert command("  open\n fridge. ") == ("open fridge", "")
    assert command("take crème\0") == ("take cr?me?", "")
    assert command("x" * 100_000)[1].startswith("That command is too long")


# Making and keeping


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from importlib.metadata import PackageNotFoundError

    def missing(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(cache, "version", missing)
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path))
    with pytest.raises(TextWorldMissing, match=re.escape("pip install 'dyna-graph[textworld]'")):
        TextWorldEnv(games=["custom/1"]).reset()


@needs_textworld
def test_a_folder_that_cannot_be_written_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "file"))
    with pytest.raises(GameFileError, match=f"cannot keep games there.*set {cache.VARIABLE}"):
        game_file("custom/1")


@needs_textworld
def test_a_game_is_made_once_however_many_ask(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Two at a time make it twice at worst; what stays is one whole game and nothing beside it."""
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path))
    made: list[str] = []

    def copied(spec: GameSpec, draft: Path) -> None:
        made.append(str(spec))
        for name in ("game.z8", "game.json"):
            shutil.copy(source.with_name(name), draft / name)

    source = _kept(GAMES[0])
    monkeypatch.setattr(cache, "_run", copied)
    with ThreadPoolExecutor(4) as pool:
        files = set(pool.map(game_file, [GAMES[0]] * 8))
    assert len(files) == 1
    assert len(made) <= 4
    again = len(made)
    game_file(GAMES[0])
    assert len(made) == again
    [file] = files
    assert sorted(p.name for p in file.parent.iterdir()) == ["game.json", "game.z8"]
    assert [p.name for p in file.parent.parent.iterdir()] == [file.parent.name]


@needs_textworld
def test_a_game_that_cannot_be_made_says_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "games"))
    monkeypatch.setenv("INFORM_HOME", str(tmp_path))  # where the compiler is not
    with pytest.raises(
        GameFileError, match=r"coin_collector/level=1/1: the game cannot be made: .*No such file"
    ):
        game_file("coin_collector/level=1/1")
    assert not [p for p in tmp_path.rglob("*") if p.is_file()]


@needs_textworld
def test_a_seed_makes_the_same_game_in_any_process(tmp_path: Path) -> None:
    """The makers iterate over sets; without a fixed seed of hashes cooking games differ between processes."""
    env = os.environ | {cache.VARIABLE: str(tmp_path), "PYTHONHASHSEED": "77"}
    code = f"from dyna_training.environments.textworld import game_file; game_file({COOKING!r})"
    subprocess.run([sys.executable, "-c", code], env=env, check=True)
    [made] = tmp_path.rglob("game.json")
    assert _described(made) == _described(_kept(COOKING).with_name("game.json"))


def _described(file: Path) -> dict[str, Any]:
    """Return what a game's description says, but where on the disk the maker's grammars lie."""
    description: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    del description["KB"]["text_grammars_path"]
    return description


@needs_textworld
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda file: file.unlink(), "no such game file"),
        (lambda file: file.with_name("game.json").unlink(), r"game\.json must lie beside it"),
        (lambda file: file.write_bytes(b"\x05" + b"\0" * 200), "no Z-machine story of version 8"),
        (lambda file: os.truncate(file, 5000), "truncated, 5000 of"),
        (lambda file: file.write_bytes(b""), "no Z-machine story"),
        (lambda file: os.truncate(file.with_name("game.json"), 300), "cannot be read as a TextWorld game"),
        (lambda file: file.with_name("game.json").write_bytes(b"\xff\xfe{"), "cannot be read as a TextWorld"),
        (lambda file: file.with_name("game.json").write_text("[]"), "cannot be read as a TextWorld game"),
    ],
)
def test_a_corrupt_file_is_explained(damage: object, message: str, tmp_path: Path) -> None:
    for name in ("game.z8", "game.json"):
        shutil.copy(_kept(GAMES[0]).with_name(name), tmp_path / name)
    damage(tmp_path / "game.z8")  # type: ignore[operator]
    with pytest.raises(GameFileError, match=message):
        TextWorldEnv(games=[tmp_path / "game.z8"]).reset()


# Playing


@needs_textworld
@pytest.mark.filterwarnings("ignore:Game .* is not fully supported")
@pytest.mark.parametrize("game", [GAMES[1], COOKING])
def test_it_says_what_the_package_says(game: str) -> None:
    """The same text but for the surroundings, the same admissible commands, plan, score and end."""
    import textworld

    wanted = textworld.EnvInfos(admissible_commands=True, policy_commands=True, score=True)
    original = textworld.start(str(_kept(game)), wanted)
    theirs = original.reset()
    env, rng = TextWorldEnv(games=[game]), random.Random(1)
    seen, info = env.reset(seed=0)
    assert _bare(seen) in _bare(theirs.feedback)
    for _ in range(25):
        assert info["admissible_actions"] == theirs.admissible_commands
        assert env.play.plan() == theirs.policy_commands
        action = rng.choice([*info["admissible_actions"], "dance", "take the coin"])
        theirs, score, done = original.step(action)
        seen, _, over, _, info = env.step(action)
        assert _bare(seen) == _bare(theirs.feedback)
        assert (info["score"], over) == (score, done)
        if over:
            break


@needs_textworld
@pytest.mark.parametrize("words", ["take knife", "get knife", "pick up knife", "remove knife from table"])
def test_a_thing_is_held_in_whatever_words_it_was_taken(words: str) -> None:
    """TextWorld's own tracking loses sight of what was taken in other words than its own."""
    env = TextWorldEnv(games=[COOKING])
    env.reset(seed=0)
    for action in ("go north", "go east", words):
        env.step(action)
    assert "holding: carrot, and knife" in env.hidden_state()
    assert "slice carrot with knife" in env.admissible()


@needs_textworld
def test_a_lost_game_earns_nothing_and_ends() -> None:
    for reward in ("success", "score"):
        env = TextWorldEnv(games=[COOKING], reward=reward)  # type: ignore[arg-type]
        env.reset(seed=0)
        _, reward, terminated, truncated, info = env.step("eat carrot")  # the recipe needs it
        assert (reward, terminated, truncated, info["lost"], info["won"]) == (0.0, True, False, True, False)
        assert env.admissible() == []
        assert env.step("look")[:3] == ("The game has ended.", 0.0, True)


@needs_textworld
def test_points_sum_up_to_one() -> None:
    env = TextWorldEnv(games=[COOKING], reward="score")
    observation, _ = env.reset(seed=0)
    expert, rewards = env.expert(), []
    for _ in range(60):
        action = expert.decide().action
        observation, reward, over, _, _ = env.step(action)
        expert.observe(action, observation)
        rewards.append(reward)
        if over:
            break
    assert sum(rewards) == pytest.approx(1.0)
    assert rewards[-1] > 0
    assert sum(r > 0 for r in rewards) > 1


@needs_textworld
def test_the_cook_goes_only_where_its_history_leads() -> None:
    """It names no food before the recipe was read, and takes nothing that it has not seen."""
    env = TextWorldEnv(games=[COOKING])
    observation, _ = env.reset(seed=0)
    expert, seen = env.expert(), observation
    for _ in range(60):
        decision = expert.decide()
        if "Ingredients:" not in seen:
            assert decision.action.split()[0] in {"go", "open", "examine"}
        if decision.action.startswith("take "):
            thing = decision.action.removeprefix("take ").partition(" from ")[0]
            assert thing in seen
        observation, _, over, _, info = env.step(decision.action)
        expert.observe(decision.action, observation)
        seen += observation
        if over:
            break
    assert info["won"]


@needs_textworld
def test_an_instructed_expert_goes_back_to_where_it_left() -> None:
    env = TextWorldEnv(games=[GAMES[0]])
    env.reset(seed=0)
    expert = env.expert()
    first = expert.decide()
    assert (first.action, first.thought) == ("go south", "Next, the task wants me to go south.")
    for action in ("go south", "go south"):  # the second one leads past the coin
        expert.observe(action, env.step(action)[0])
    assert expert.decide().thought == "I left the way that the task describes, so first I go north."


@needs_textworld
def test_the_hidden_state_says_where_things_are() -> None:
    env = TextWorldEnv(games=[COOKING])
    env.reset(seed=0)
    state = env.hidden_state()
    assert state.startswith("at: ")
    assert re.search(r"^recipe: .+ \((chopped|sliced|diced)", state, re.MULTILINE)
    assert re.search(r"^kitchen exits: ", state, re.MULTILINE)
    assert re.search(r"^fridge \(closed\): ", state, re.MULTILINE)
    moved = next(c for c in env.admissible() if c.startswith(("go ", "open ")))
    env.step(moved)
    assert env.hidden_state() != state


def _kept(game: str) -> Path:
    return game_file(game)


def _bare(text: str) -> str:
    """Return text without what is laid out: status line, question about a restart, and how wide spaces are."""
    text = re.sub(r"\n>\s+-=[^\n]*$", "", text).split("Would you like to RESTART")[0]
    return re.sub(r"\s+", " ", text).strip()


def test_textworld_is_tested_here() -> None:
    """Continuous integration installs it; there, nothing of this is skipped."""
    assert importlib.util.find_spec("textworld") is not None or not os.environ.get("CI")
