"""The demo: games without and with a world model, what is shown, what is verified, what is saved."""

from __future__ import annotations

import asyncio
import io
import json
import re
import signal
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from dyna_graph.config import DynaConfig
from dyna_nodes.experience import iter_trajectory_file
from dyna_nodes.nouns import Prediction, Query
from dyna_nodes.testing import ScriptedWorldModel
from dyna_training.demo.closing import show_closing
from dyna_training.demo.games import FIRST_SEED, choose
from dyna_training.demo.play import Playing, configuration, make_tool, prepare
from dyna_training.demo.record import Play, Turn
from dyna_training.demo.recorded import Evaluation, Recorded, digests_in_use, recorded, recorded_evaluation
from dyna_training.demo.replay import embedded
from dyna_training.demo.report import changed, summary, tally
from dyna_training.demo.run import play_all, save, verify
from dyna_training.demo.verify import overrulings
from dyna_training.demo.view import View
from dyna_training.environments.alfworld import State, load_game
from dyna_training.evaluation.agent import CRITIC
from dyna_training.world_models.environment import EnvironmentWorldModel
from tests.training.demo_parts import USELESS, ExpertChatModel

ESCAPE = "\x1b"

VETOING = CRITIC.replace("nothing vetoed", "vetoes")
"""The critic of the demo: that of the evaluation, with vetoes."""


def shipped() -> DynaConfig:
    with resources.as_file(resources.files("dyna_training.demo").joinpath("dyna.yaml")) as file:
        return DynaConfig.from_file(file)


def playings(folder: Path, games: int = 1, world_model: Any = None) -> list[Playing]:
    """Both arms with the scripted policy; the world model is a fork of the game unless given."""
    config = shipped()
    tool = make_tool(config.limits.max_steps)
    model = ExpertChatModel()
    imagination = world_model or EnvironmentWorldModel([tool])
    plain = configuration(config, "without").build([tool], model=model)
    looking = config.build([tool], model=model, world_model=imagination)
    return prepare({"without": plain, "with": looking}, tool, choose("generated", games, 0, folder))


def screen(*, width: int = 80, plain: bool = False, terminal: bool = False) -> tuple[View, io.StringIO]:
    out = io.StringIO()
    console = Console(file=out, width=width, no_color=plain or None, highlight=False, force_terminal=terminal)
    return View(console, ascii_only=plain), out


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Play], str]:
    """Two games in both arms, and what was on the screen."""
    view, out = screen()
    both = playings(tmp_path_factory.mktemp("games"), games=2)
    view.opening(shipped(), [p.game for p in both])
    assert asyncio.run(play_all(both, view))
    return [p.play() for p in both], out.getvalue()


def lying(query: Query) -> Prediction:
    """Imagine that only the useless does something."""
    if query.action.text == USELESS:
        return Prediction(observation="A door opens.", value=0.9)
    return Prediction(observation="Nothing happens.", value=0.0)


def test_the_world_model_saves_what_the_policy_alone_wastes(played: tuple[list[Play], str]) -> None:
    plays, _ = played
    for without, with_ in zip(plays[::2], plays[1::2], strict=True):
        assert (without.arm, with_.arm) == ("without", "with")
        assert without.won
        assert with_.won
        assert with_.invalid == 0 < without.invalid
        assert len(with_.turns) == len(without.turns) - without.invalid
        assert without.imagined_tokens == 0
        assert without.policy_tokens == 10 * len(without.turns)
        assert with_.policy_tokens == 40 * len(with_.turns), "all four candidates count"


def test_a_fork_of_the_real_game_says_what_the_vetoed_action_would_have_done(
    played: tuple[list[Play], str],
) -> None:
    plays, _ = played
    found = verify(plays)
    assert [(o.game, o.step) for o in found] == [
        (p.game.number, i) for p in plays if p.arm == "with" for i in range(2, len(p.turns) + 1, 3)
    ]
    for overruling in found:
        play = plays[2 * overruling.game - 1]
        state = State(load_game(play.game.file))
        for turn in play.turns[: overruling.step - 1]:
            state.step(turn.transition.action.text)
        assert overruling.first.text == USELESS
        assert overruling.vetoed
        assert overruling.first_really == state.fork().step(USELESS)[0]
        assert overruling.ran_really == state.step(overruling.ran)[0]
        assert overruling.effect == "better"
        assert overruling.first_left == (overruling.ran_left or 0) + 1
    steps = sum(len(p.turns) for p in plays if p.arm == "with")
    sentence = changed(found, steps)
    assert f"the policy's first idea was “{USELESS}”" in sentence
    assert f"in a fork of the real game “{USELESS}” gives “Nothing happens.”" in sentence
    assert f"at {len(found)} of {steps} steps" in tally(found, steps)
    assert f"better {len(found)}, no difference 0, worse 0 " in tally(found, steps)


def test_a_world_model_that_is_wrong_is_not_praised(tmp_path: Path) -> None:
    view, out = screen()
    both = playings(tmp_path, world_model=ScriptedWorldModel(lying))
    assert asyncio.run(play_all(both, view))
    play = both[1].play()
    # It prefers its first idea wherever that is useless, and elsewhere runs what it vetoed, having no choice.
    assert play.won
    assert play.invalid > 0
    assert not verify([play])
    assert changed([], len(play.turns)) == (
        f"In these games the world model never overruled the policy, in {len(play.turns)} steps."
    )
    assert "% of the words as imagined" in out.getvalue()


def test_an_overruling_for_the_worse_is_called_so(tmp_path: Path) -> None:
    config = shipped()
    tool = make_tool(config.limits.max_steps)

    class Stubborn(ExpertChatModel):
        def ideas(self, count: int, thought: str, command: str) -> list[tuple[str, str]]:
            return [(thought, command), ("Let me see.", USELESS)]

    agent = config.build([tool], model=Stubborn(), world_model=ScriptedWorldModel(lying))
    [game] = choose("generated", 1, 0, tmp_path)
    playing = Playing(agent, tool, game, "with")
    asyncio.run(playing.run())
    play = playing.play()
    assert play.outcome == "truncated"
    assert play.invalid == config.limits.max_steps
    found = verify([play])
    assert {o.effect for o in found} == {"worse"}
    assert "so what ran was worse" in changed(found, len(play.turns))
    assert "better 0, no difference 0, worse " in tally(found, len(play.turns))


def test_nothing_is_verified_when_the_replay_disagrees(played: tuple[list[Play], str]) -> None:
    play = played[0][1]
    transition = play.turns[0].transition.model_copy(update={"observation": "You are in a garden."})
    turns = (play.turns[0].model_copy(update={"transition": transition}), *play.turns[1:])
    with pytest.raises(ValueError, match=r"step 1 of .* was observed as 'You are in a garden.'"):
        overrulings(play.model_copy(update={"turns": turns}))


def test_games_are_new_households_from_seeds_of_their_own(tmp_path: Path) -> None:
    games = choose("generated", 3, 5, tmp_path)
    assert [g.seed for g in games] == [FIRST_SEED + 5, FIRST_SEED + 6, FIRST_SEED + 7]
    assert games == choose("generated", 3, 5, tmp_path)
    for game in games:
        assert load_game(game.file).task == game.task
        assert len(load_game(game.file).walkthrough) == game.steps > 0


def test_the_screen_is_calm(played: tuple[list[Play], str]) -> None:
    plays, text = played
    assert ESCAPE not in text
    assert max(len(line) for line in text.splitlines()) <= 80
    for play in plays:
        assert f"Game {play.game.number} of 2  {play.game.task}" in text
        for turn in play.turns:
            assert turn.transition.action.text[:20] in text
    assert f"✗ {USELESS}" in text
    assert "✓ really → as imagined" in text
    assert re.search(r"▸ [^\n]* ×3 0\.\d\d → ", text)


def test_surprise_is_shown_where_the_world_model_told_it(played: tuple[list[Play], str]) -> None:
    plays, text = played
    assert "surprise" not in text
    turn = plays[1].turns[0]
    scores = {**turn.transition.scores, "surprise": 0.648}
    view, out = screen()
    told = turn.model_copy(update={"transition": turn.transition.model_copy(update={"scores": scores})})
    view.turn(1, told, brief=False)
    assert "really → as imagined  surprise 0.65" in out.getvalue()
    view.turn(1, told, brief=True)
    assert out.getvalue().count("surprise") == 1


@pytest.mark.parametrize(
    ("scores", "said"),
    [
        ({"exact": 0.0, "f1": 0.5, "holds": 1.0}, "(all that was imagined came true)"),
        ({"holds": 0.0, "certain_holds": 0.0}, "(not as imagined)"),
        ({"exact": 1.0, "f1": 1.0, "inner_holds": 0.0}, "the policy's own simulation did not come true"),
    ],
)
def test_what_the_policy_simulated_itself_is_shown(
    played: tuple[list[Play], str], scores: dict[str, float], said: str
) -> None:
    turn = played[0][1].turns[0]
    view, out = screen()
    told = turn.model_copy(update={"transition": turn.transition.model_copy(update={"scores": scores})})
    view.turn(1, told, brief=False)
    assert said in " ".join(out.getvalue().split())


def test_plain_is_ascii(played: tuple[list[Play], str], tmp_path: Path) -> None:
    plays, _ = played
    view, out = screen(plain=True, terminal=True)
    view.opening(shipped(), [plays[0].game])
    for play in plays:
        view.game(play.game, 2)
        for number, turn in enumerate(play.turns, start=1):
            view.turn(number, turn, brief=play.arm == "without")
        view.end(play)
    found = verify(plays)
    before = Recorded(example_evaluation(), ("Played otherwise…",))
    show_closing(view, plays, found, before, finished=True, seconds=1.0, files={"a": tmp_path})
    text = out.getvalue()
    assert text.isascii()
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]", text), "no colours"
    assert max(len(re.sub(r"\x1b\[[0-9;]*m", "", line)) for line in text.splitlines()) <= 80


def hostile(turn: Turn, text: str) -> Turn:
    transition = turn.transition.model_copy(update={"observation": text, "thought": text, "scores": {}})
    return turn.model_copy(update={"transition": transition})


def test_what_a_game_says_cannot_disturb_the_screen(played: tuple[list[Play], str]) -> None:
    view, out = screen()
    view.turn(1, hostile(played[0][1].turns[0], f"{ESCAPE}[2J[bold]boo[/bold]\r\nbye"), brief=False)
    assert ESCAPE not in out.getvalue()
    assert "?[2J[bold]boo[/bold] bye" in out.getvalue()


def page_data(page: str) -> Any:
    [data] = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    return json.loads(data)


def test_replay_and_trajectories_hold_everything(played: tuple[list[Play], str], tmp_path: Path) -> None:
    plays, _ = played
    evil = "</script><img src=x onerror=alert(1)>\u2028 “quoted”"
    turns = (hostile(plays[0].turns[0], evil), *plays[0].turns[1:])
    shown = [plays[0].model_copy(update={"turns": turns}), *plays[1:]]
    found = verify(plays)
    save(tmp_path / "a", shown, found, shipped())
    files = save(tmp_path / "a", shown, found, shipped())
    page = files["replay"].read_text(encoding="utf-8")
    data = page_data(page)
    assert data["plays"][0]["turns"][0]["observation"] == evil
    assert evil not in page
    own = page.replace(json.dumps(evil)[1:-1], "").replace(embedded(evil)[1:-1], "")
    assert not re.search(r"https?://|\bsrc=|<link|@import|innerHTML", own), "nothing is fetched"
    for play, said in zip(shown, data["plays"], strict=True):
        assert [t["action"] for t in said["turns"]] == [t.transition.action.text for t in play.turns]
    overruled = [t["overruled"] for t in data["plays"][1]["turns"] if t["overruled"]]
    assert [o["really"] for o in overruled] == [o.first_really for o in found if o.game == 1]
    stored = list(iter_trajectory_file(files["trajectories"]))
    assert [t.outcome for t in stored] == ["success"] * 4, "the same games twice are stored once"
    assert stored[1].transitions == plays[1].trajectory({}, stored[1].provenance).transitions
    assert stored[0].configuration["model"]["temperature"] == 0
    assert "world_model" not in stored[0].configuration
    assert stored[1].configuration["world_model"] == "local:smollm2+alfworld-world-model"
    assert stored[1].provenance.seed == FIRST_SEED


NOTHING = Recorded(None, ("No larger evaluation is recorded.",))


def example_evaluation(**changes: Any) -> Evaluation:
    arm = {"success": [0.5, 0.4, 0.6], "steps": [30.0, 28.0, 32.0], "invalid": [3.0, 2.0, 4.0]}
    tokens = {"policy_tokens": [800.0, 700.0, 900.0], "model_tokens": [0.0, 0.0, 0.0], "seconds": 9}
    digests = digests_in_use(shipped())
    verdict = {"control": "majority", "sentence": "At the same k, the claim is open."}
    given: dict[str, Any] = {
        "command": "dyna eval agent --games 70",
        "games": 70,
        "split": "dev_unseen",
        "hardware": "two cores",
        "candidates": 4,
        "temperature": 1.0,
        "max_steps": 50,
        "critic": "household, nothing vetoed",
        "training_seeds": (0,),
        "adapters": ({"training_seed": 0} | {r: {"name": r, "digest": d} for r, d in digests.items()},),
        "verdicts": (verdict,),
        "arms": {
            "greedy": {**arm, **tokens},
            "majority": {**arm, "success": [0.55, 0.45, 0.65]},
            "trained": {**arm, "success": 0.75},
            "oracle": arm,
        },
    }
    return Evaluation.model_validate(given | changes)


@pytest.fixture
def record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the recorded evaluation lies; nothing is there yet."""
    file = tmp_path / "evaluation.json"
    monkeypatch.setattr("dyna_training.demo.recorded.EVALUATION", (str(file),))
    return file


@pytest.mark.parametrize("evaluation", [None, example_evaluation()])
def test_the_table_stands_beside_the_recorded_evaluation(
    played: tuple[list[Play], str], evaluation: Evaluation | None, tmp_path: Path, record: Path
) -> None:
    plays, _ = played
    view, out = screen()
    if evaluation is not None:
        record.write_text(evaluation.model_dump_json())
    before = recorded(shipped(), "generated")
    show_closing(view, plays, [], before, finished=True, seconds=61.0, files={"replay": tmp_path / "r"})
    rows = [line.split() for line in out.getvalue().splitlines()]
    mine = [row for row in rows if row[:3] == ["without", "world", "model"]]
    steps = sum(len(p.turns) for p in plays[::2]) / 2
    assert mine[0][3:5] == ["2/2", f"{steps:.1f}"]
    said = " ".join(out.getvalue().split())
    if evaluation is None:
        assert "No larger evaluation is recorded" in said
        assert len(mine) == 1
    else:
        assert mine[1][3:] == ["50%", "(40%–60%)", "30.0", "3.0", "800", "9"]
        assert [row for row in rows if row[:3] == ["with", "world", "model"]][1][3:] == ["75%", "30.0", "3.0"]
        assert [row[3:5] for row in rows if row[:3] == ["best", "control:", "majority"]] == [
            ["55%", "(45%–65%)"]
        ]
        assert "Recorded before: 70 games of dev_unseen, two cores: step limit 50, k 4, temperature 1" in said
        assert "dyna eval agent --games 70 At the same k, the claim is open." in said
        assert (
            "The games above were played otherwise: games of generated instead of dev_unseen; step limit 25 instead "
            "of 50; k 4 (where all are rejected 16 anew) instead of 4; "
            f"critic {VETOING} instead of household, nothing vetoed. Compare the rows within a block"
        ) in said


def test_a_record_of_other_adapters_is_not_shown(record: Path) -> None:
    mine = example_evaluation().adapters[0]
    other = {**mine, "world_model": {"name": "world_model", "digest": "0" * 64}}
    record.write_text(example_evaluation(adapters=[other]).model_dump_json())
    assert recorded(shipped(), "generated").evaluation is None
    assert "of other adapters" in recorded(shipped(), "generated").notes[0]
    both = example_evaluation(adapters=[other, mine])
    record.write_text(both.model_dump_json())
    assert recorded(shipped(), "generated").evaluation == both, "one of the training seeds is what is in use"
    bare = DynaConfig.model_validate(shipped().to_dict() | {"model": "local:smollm2"})
    assert recorded(bare, "generated").evaluation is None, "a policy without adapter was not measured"


def test_nothing_is_called_different_that_is_not(record: Path) -> None:
    same = example_evaluation(max_steps=25, resample=16, critic=VETOING)
    record.write_text(same.model_dump_json())
    assert not any("played otherwise" in note for note in recorded(shipped(), "dev_unseen").notes)


def test_a_damaged_evaluation_is_reported(record: Path) -> None:
    assert recorded_evaluation() is None
    record.write_text(example_evaluation().model_dump_json())
    assert recorded_evaluation() == example_evaluation()
    record.write_text('{"games": 70')
    with pytest.raises(ValueError, match=r"evaluation.json is damaged: .*dyna eval agent --record"):
        recorded_evaluation()


def test_ctrl_c_keeps_what_was_played(tmp_path: Path) -> None:
    class Interrupting(View):
        def turn(self, number: int, turn: Turn, *, brief: bool) -> None:
            super().turn(number, turn, brief=brief)
            if number == 3:
                signal.raise_signal(signal.SIGINT)

    _, out = screen()
    view = Interrupting(Console(file=out, width=80), ascii_only=False)
    both = playings(tmp_path, games=2)
    assert not asyncio.run(play_all(both, view))
    plays = [p.play() for p in both]
    assert len(plays[0].turns) >= 3
    assert not all(p.ended for p in plays)
    found = verify(plays)
    files = save(tmp_path / "out", [p for p in plays if p.turns], found, shipped())
    stored = list(iter_trajectory_file(files["trajectories"]))
    assert sum(len(t.transitions) for t in stored) == sum(len(p.turns) for p in plays)
    show_closing(view, plays, found, NOTHING, finished=False, seconds=1.0, files=files)
    assert "Interrupted" in out.getvalue()
    done = summary(plays, found, NOTHING, seconds=1.0, finished=False, files=files)
    assert json.loads(json.dumps(done))["finished"] is False


def test_a_failing_game_does_not_lose_the_others(tmp_path: Path) -> None:
    def broken(query: Query) -> Any:
        raise AssertionError("never asked: the policy fails first")

    class Broken(ExpertChatModel):
        def _generate(self, messages: Any, *args: Any, **kwargs: Any) -> Any:
            if kwargs.get("n"):
                raise ConnectionError("the server is gone")
            return super()._generate(messages, *args, **kwargs)

    config = shipped()
    tool = make_tool(config.limits.max_steps)
    agents = {
        "without": configuration(config, "without").build([tool], model=Broken()),
        "with": config.build([tool], model=Broken(), world_model=ScriptedWorldModel(broken)),
    }
    both = prepare(agents, tool, choose("generated", 1, 0, tmp_path))  # type: ignore[arg-type]
    with pytest.raises(ConnectionError, match="the server is gone"):
        asyncio.run(play_all(both, screen()[0]))
    assert both[0].play().won
    assert both[1].play().outcome == "unknown"
