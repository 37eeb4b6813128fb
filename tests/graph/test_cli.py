"""The command line: help, exit codes, plugins that fail, interruption."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dyna_graph import cli, plugins
from dyna_graph.config import SCHEMA_FILE, schema_text
from dyna_nodes.experience import ExperienceLog
from dyna_nodes.nouns import Action, Decision, Prediction, Provenance, Transition, Verdict

PLUGIN = """\
[dyna_graph.commands]
hello = acme_commands.hello:app
broken = acme_commands.broken:app
heavy = acme_commands.heavy:app
wait = acme_commands.wait:app
fail = acme_commands.fail:app
"""


def dyna(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(cli.app, list(arguments), prog_name="dyna", env={"COLUMNS": "100"})
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def acme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An installed package with commands of its own."""
    site = tmp_path / "site"
    info, package = site / "acme_commands-1.0.dist-info", site / "acme_commands"
    info.mkdir(parents=True)
    package.mkdir()
    (info / "METADATA").write_text(
        'Metadata-Version: 2.1\nName: acme\nVersion: 1.0\nRequires-Dist: acme-gpu; extra == "gpu"\n'
    )
    (info / "entry_points.txt").write_text(PLUGIN)
    (package / "__init__.py").touch()
    (package / "hello.py").write_text(
        '"""Say hello.\n\nMore."""\nimport typer\napp = typer.Typer()\n'
        "@app.command()\ndef hello(name: str = 'you') -> None:\n    print('hello', name)\n"
    )
    (package / "broken.py").write_text('"""Break."""\n1 / 0\n')
    (package / "fail.py").write_text(
        '"""Fail."""\nimport typer\nfrom dyna_nodes.experience import ExperienceError\napp = typer.Typer()\n'
        "@app.command()\ndef fail(bug: bool = False) -> None:\n"
        "    raise KeyError('a bug') if bug else ExperienceError('the disk is full: free some space')\n"
    )
    (package / "heavy.py").write_text('"""Compute."""\nimport acme_gpu\n')
    (package / "wait.py").write_text(
        '"""Wait."""\nimport time, typer\napp = typer.Typer()\n'
        "@app.command()\ndef wait() -> None:\n    print('waiting', flush=True)\n    time.sleep(60)\n"
    )
    monkeypatch.syspath_prepend(str(site))
    plugins._points.cache_clear()
    yield site
    plugins._points.cache_clear()
    for name in [m for m in sys.modules if m.startswith("acme_commands")]:
        del sys.modules[name]


def test_help_teaches() -> None:
    code, out, _ = dyna("--help")
    assert code == 0
    for command in (*cli.BUILT_IN, "train", "collect", "eval", "demo"):
        assert f" {command} " in out
    assert "Write a commented starter dyna.yaml" in out
    assert "dyna demo" in out


def test_no_arguments_show_the_help() -> None:
    code, out, err = dyna()
    assert code == 2
    assert "Usage: dyna" in out + err


def test_help_is_fast_and_loads_nothing_heavy() -> None:
    program = (
        "import sys; sys.argv = ['dyna', '--help']\n"
        "from dyna_graph.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'transformers', 'langchain', 'langgraph', 'langchain_core'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
    assert time.perf_counter() - start < 3  # 0.2 s on an idle core; the bound leaves room for a busy one


def test_an_unknown_command_names_the_nearest() -> None:
    code, _, err = dyna("chekc")
    assert code == 2
    assert "No such command 'chekc'. Did you mean 'check'?" in err


@pytest.mark.usefixtures("acme")
def test_commands_of_other_packages_are_listed_and_run() -> None:
    code, out, _ = dyna("--help")
    assert code == 0
    assert "Say hello" in out
    assert "Break" in out  # listed without being imported
    assert dyna("hello", "--name", "world") == (0, "hello world\n", "")


@pytest.mark.usefixtures("acme")
def test_a_command_that_cannot_be_loaded_is_named_and_harms_no_other() -> None:
    code, _, err = dyna("broken")
    assert code == 1
    assert err == (
        "'broken' (acme_commands.broken:app) cannot be loaded: ZeroDivisionError: division by zero\n"
    )
    code, _, err = dyna("heavy")
    assert code == 1
    assert "acme_gpu is missing: pip install 'acme[gpu]'" in err
    assert dyna("hello")[0] == 0


@pytest.mark.usefixtures("acme")
def test_errors_of_the_project_are_a_line_and_bugs_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    assert dyna("fail") == (1, "", "the disk is full: free some space\n")
    with pytest.raises(KeyError, match="a bug"):
        dyna("fail", "--bug")
    monkeypatch.setenv("DYNA_DEBUG", "1")
    with pytest.raises(OSError, match="the disk is full"):
        dyna("fail")


def test_interrupting_prints_one_line(acme: Path) -> None:
    path = os.pathsep.join([str(acme), *sys.path])
    process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "from dyna_graph.cli import main; import sys; sys.argv[1:] = ['wait']; main()",
        ],
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "waiting\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert err == "Interrupted.\n"


def test_init_then_check(folder: Path) -> None:
    code, out, _ = dyna("init")
    assert code == 0
    assert out == "wrote dyna.yaml and dyna.schema.json\nnext: edit it, then `dyna check dyna.yaml`\n"
    assert (folder / SCHEMA_FILE).read_text(encoding="utf-8") == schema_text()
    code, out, _ = dyna("check")
    assert code == 0
    assert out.startswith("# dyna.yaml: valid")
    assert "max_revisions: 2" in out


def test_init_replaces_nothing_unasked(folder: Path) -> None:
    (folder / "dyna.yaml").write_text("model: openai:mine\n")
    code, _, err = dyna("init")
    assert code == 2
    assert "dyna.yaml exists" in err
    assert (folder / "dyna.yaml").read_text() == "model: openai:mine\n"
    assert dyna("init", "--force")[0] == 0


def test_check_lists_what_is_wrong(folder: Path) -> None:
    (folder / "dyna.yaml").write_text("model: openai:x\nsimulate:\n  candidtes: 4\n  horizon: 0\n")
    code, out, err = dyna("check", "dyna.yaml")
    assert (code, out) == (2, "")
    assert err == (
        "dyna.yaml:3: unknown key 'candidtes' in 'simulate'; did you mean 'candidates'?\n"
        "dyna.yaml:4: 'simulate.horizon' must be at least 1, got 0\n"
    )
    code, out, _ = dyna("check", "dyna.yaml", "--json")
    assert code == 2
    assert [(p["line"], p["key"]) for p in json.loads(out)["problems"]] == [
        (3, "simulate.candidtes"),
        (4, "simulate.horizon"),
    ]


def test_check_finds_models_that_lead_nowhere(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dyna_graph.models.shipped_adapters", dict)
    (folder / "dyna.yaml").write_text(
        "model: opnai:x\nworld_model: local:smollm2+adapters/gone\n"
        "critic:\n  - {critic: value, tools: act}\n  - critic: judge\n    model: lokal:y\n"
    )
    code, _, err = dyna("check")
    assert code == 2
    assert err.splitlines() == [
        "dyna.yaml:1: unknown provider 'opnai' in model 'opnai:x'; did you mean 'openai'?",
        "dyna.yaml:2: no adapter 'adapters/gone': there is no such folder and no adapter is installed",
        "dyna.yaml:6: unknown provider 'lokal' in model 'lokal:y'; did you mean 'local'?",
    ]


def test_check_shows_no_secret(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "secret-123")
    (folder / "dyna.yaml").write_text("model: {name: local:smollm2, options: {api_key: '${MY_KEY}'}}\n")
    for flags in ([], ["--json"]):
        code, out, _ = dyna("check", *flags)
        assert code == 0
        assert "secret-123" not in out
        assert "${MY_KEY}" in out


def test_schema_is_printed_or_written(folder: Path) -> None:
    code, out, _ = dyna("schema")
    assert code == 0
    assert out == schema_text()
    assert dyna("schema", "--out", "deep/er.json")[0] == 0
    assert (folder / "deep" / "er.json").read_text(encoding="utf-8") == schema_text()


def test_version_names_all_parts() -> None:
    code, out, _ = dyna("version", "--json")
    assert code == 0
    found = json.loads(out)
    assert found["versions"]["langgraph"]
    assert "environment" in found["plugins"]["dyna_graph.world_models"]
    code, out, _ = dyna("--version")
    assert (code, out.split()[0]) == (0, "dyna-graph")


def test_log_stats_counts_what_is_in_a_log(folder: Path) -> None:
    with ExperienceLog(folder / "log") as log:
        for index, exact in enumerate([1.0, 0.0]):
            log.append(
                Transition(
                    trajectory="t",
                    index=index,
                    action=Action(tool="search", arguments={"q": index}),
                    prediction=Prediction(observation="x"),
                    verdict=Verdict(decision=Decision.APPROVE),
                    scores={"exact": exact},
                )
            )
        log.append(Transition(trajectory="u", action=Action(tool="pay"), status="error"))
        log.append(
            Transition(
                trajectory="u/imagined",
                action=Action(tool="pay"),
                verdict=Verdict(decision=Decision.REJECT),
                provenance=Provenance(source="imagination"),
            )
        )
    code, out, _ = dyna("log", "stats", "log", "--json")
    assert code == 0
    found = json.loads(out)
    assert (found["transitions"], found["trajectories"], found["segments"]) == (3, 2, 1)
    assert found["tools"]["search"] == {
        "calls": 2,
        "predictions": {"made": 2},
        "decisions": {"approve": 2},
        "status": {"ok": 2},
        "scores": {"exact": {"mean": 0.5, "calls": 2}},
    }
    assert found["imagined"] == 1
    assert found["tools"]["pay"]["status"] == {"error": 1}
    assert found["tools"]["pay"]["decisions"] == {"reject": 1}
    code, out, _ = dyna("log", "stats", "log")
    assert code == 0
    assert "search" in out
    assert "0.50" in out


def test_log_stats_of_a_damaged_log_says_so(folder: Path) -> None:
    with ExperienceLog(folder / "log") as log:
        log.append(Transition(action=Action(tool="search")))
    [segment] = log.segments()
    with segment.open("ab") as file:
        file.write(b'{"id": "cut off')
    found = json.loads(dyna("log", "stats", "log", "--json")[1])
    assert found["transitions"] == 1
    assert len(found["problems"]) == 1
    assert f"{segment.name}:3" in found["problems"][0]


@pytest.mark.usefixtures("folder")
def test_log_stats_without_a_log() -> None:
    code, _, err = dyna("log", "stats", "nowhere")
    assert (code, err) == (1, "nowhere is no folder; name the folder that `record` in dyna.yaml names\n")
