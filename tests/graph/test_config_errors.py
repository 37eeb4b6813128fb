"""Every error names file, line and key, and says what to do; one small file per error."""

from __future__ import annotations

from pathlib import Path

import pytest

from dyna_graph.config import ConfigError, DynaConfig

OK = "model: openai:x\n"

CASES = {
    # Keys.
    "unknown key in a section": (
        OK + "mode: shadow\ncritic: value\n\n# look ahead\nsimulate:\n  candidtes: 4\n",
        "dyna.yaml:7: unknown key 'candidtes' in 'simulate'; did you mean 'candidates'?",
    ),
    "unknown key at the top": (
        OK + "worldmodel: none\n",
        "dyna.yaml:2: unknown key 'worldmodel'; did you mean 'world_model'?",
    ),
    "unknown key, nothing near": (
        OK + "limits: {zzz: 1}\n",
        "dyna.yaml:2: unknown key 'zzz' in 'limits'; valid keys: max_steps, max_blocks",
    ),
    "unknown key of a tool": (
        OK + 'tools:\n  "rm_*":\n    irreversibel: true\n',
        "dyna.yaml:4: unknown key 'irreversibel' in 'tools.rm_*'; did you mean 'irreversible'?",
    ),
    "unknown key of a critic": (
        OK + "critic:\n  - critic: value\n    tool: act\n",
        "dyna.yaml:4: unknown key 'tool' in 'critic[0]'; did you mean 'tools'?",
    ),
    "unknown key in a long model": (
        "model:\n  name: openai:x\n  temprature: 0\n",
        "dyna.yaml:3: unknown key 'temprature' in 'model'; did you mean 'temperature'?",
    ),
    "key stands twice": (
        OK + "mode: shadow\nmode: advise\n",
        "dyna.yaml:3: key 'mode' stands twice, first in line 2",
    ),
    "key stands twice in a section": (
        OK + "limits:\n  max_steps: 1\n  max_steps: 2\n",
        "dyna.yaml:4: key 'max_steps' in 'limits' stands twice, first in line 3",
    ),
    "key is misspelt": (
        "modl: openai:x\n",
        "dyna.yaml:1: unknown key 'modl'; did you mean 'model'?",
    ),
    "key of a long form is missing": (
        "mode: shadow\nmodel: {temperature: 0}\n",
        "dyna.yaml:2: the key 'name' is missing in 'model'",
    ),
    # Values.
    "not one of the allowed": (
        OK + "mode: enfroce\n",
        "dyna.yaml:2: 'mode' cannot be 'enfroce'; did you mean 'enforce'?",
    ),
    "not one of the allowed, nothing near": (
        OK + "critique:\n  on_exhausted: off\n",
        "dyna.yaml:3: 'critique.on_exhausted' cannot be 'off'; choose one of: block, allow, escalate",
    ),
    "text instead of a number": (
        OK + "simulate:\n  candidates: four\n",
        "dyna.yaml:3: 'simulate.candidates' must be a whole number, got 'four'",
    ),
    "number in quotes": (
        OK + 'simulate:\n  candidates: "4"\n',
        "dyna.yaml:3: 'simulate.candidates' must be a whole number, got '4'; remove the quotes",
    ),
    "fraction": (
        OK + "simulate: {horizon: 1.5}\n",
        "dyna.yaml:2: 'simulate.horizon' must be a whole number, got 1.5",
    ),
    "boolean instead of a number": (
        OK + "simulate: {horizon: true}\n",
        "dyna.yaml:2: 'simulate.horizon' must be a whole number, got true",
    ),
    "too small": (
        OK + "simulate: {horizon: 0}\n",
        "dyna.yaml:2: 'simulate.horizon' must be at least 1, got 0",
    ),
    "out of range": (
        OK + "critic: {critic: value, discount: 1.5}\n",
        "dyna.yaml:2: 'critic.discount' must be at most 1, got 1.5",
    ),
    "not finite": (
        OK + "critique: {critic_timeout: .inf}\n",
        "dyna.yaml:2: 'critique.critic_timeout' must be a finite number, got inf",
    ),
    "number instead of text": (
        OK + "system_prompt: 42\n",
        "dyna.yaml:2: 'system_prompt' must be text, got 42; put it in quotes",
    ),
    "not a boolean": (
        OK + "tools:\n  a:\n    simulate: maybe\n",
        "dyna.yaml:4: 'tools.a.simulate' must be true or false, got 'maybe'",
    ),
    "text instead of a section": (
        OK + "limits: 7\n",
        "dyna.yaml:2: 'limits' must be 'key: value' settings, got 7",
    ),
    "list instead of a section": (
        OK + "tools:\n  - a\n",
        "dyna.yaml:2: 'tools' must be 'key: value' settings, got a list of 1",
    ),
    "a checkpointer at an address that is not Postgres's": (
        OK + "checkpointer: postgresql+psycopg://me:secret@db/x\n",
        "dyna.yaml:2: 'checkpointer': unknown checkpointer 'postgresql+psycopg://…'; write memory, sqlite:FILE, or "
        "postgresql://…",
    ),
    "unknown checkpointer": (
        OK + "checkpointer: postgres\n",
        "dyna.yaml:2: 'checkpointer': unknown checkpointer 'postgres'; write memory, sqlite:FILE, or postgresql://…",
    ),
    "empty": (OK + 'record: ""\n', "dyna.yaml:2: 'record' must not be empty"),
    "retries of a tool that must not be called twice": (
        OK + "tools:\n  pay:\n    retries: 2\n",
        "dyna.yaml:3: 'tools.pay': retries need idempotent: true, because any other tool must "
        "not be called twice",
    ),
    "glob that is never reached": (
        OK + 'tools:\n  "*": {timeout: 1}\n  "rm_*": {irreversible: true}\n',
        "dyna.yaml:2: 'tools': 'rm_*' is never reached, because '*' stands before it; put the more "
        "special one first",
    ),
    "critic that is never reached": (
        OK + "critic:\n  - value\n  - {critic: outcome, tools: [pay, rm_*]}\n",
        "dyna.yaml:2: 'critic': 'outcome (number 2)' is never reached, because '*' stands before it; put the "
        "more special one first",
    ),
    "kind that takes no context": (
        OK + "world_model: {kind: environment, context: privileged}\n",
        "dyna.yaml:2: 'world_model': a world model of kind 'environment' takes no context",
    ),
    "weights that do not fit": (
        OK + "critic: {critic: together, critics: [value, rules], weights: [1]}\n",
        "dyna.yaml:2: 'critic': 2 critics but 1 weights; give one weight per critic, or none",
    ),
    "unknown key of a critic in a critic": (
        OK + "critic:\n  critic: together\n  critics:\n    - value\n    - {critic: judge, last_step: 3}\n",
        "dyna.yaml:6: unknown key 'last_step' in 'critic.critics[1]'; did you mean 'last_steps'?",
    ),
    "wrong value in a list": (
        OK + "critic: {critic: rules, reject: [lop]}\n",
        "dyna.yaml:2: 'critic.reject[0]' cannot be 'lop'; did you mean 'loop'?",
    ),
    # Models, world models and critics.
    "model without provider": (
        "model: 'openai:'\n",
        "dyna.yaml:1: 'model': model 'openai:' lacks the part after the colon; write provider:model, such as "
        "openai:gpt-5-mini",
    ),
    "adapter is missing": (
        OK + "world_model: local:smollm2+\n",
        "dyna.yaml:2: 'world_model': model 'local:smollm2+' must read local:base or local:base+adapter",
    ),
    "unknown kind of world model": (
        OK + "world_model:\n  kind: traind\n  model: local:a+b\n",
        "dyna.yaml:3: 'world_model.kind': unknown kind of world model 'traind'; did you mean 'trained'?",
    ),
    "kind without a model": (
        OK + "world_model: trained\n",
        "dyna.yaml:2: 'world_model': a world model of kind 'trained' needs a model, such as "
        "local:smollm2+my-adapter",
    ),
    "kind that takes no model": (
        OK + "world_model: {kind: environment, model: openai:x}\n",
        "dyna.yaml:2: 'world_model': a world model of kind 'environment' takes no model",
    ),
    "unknown critic": (
        OK + "critic: valeu\n",
        "dyna.yaml:2: unknown critic 'valeu' in 'critic'; did you mean 'value'?",
    ),
    "unknown critic in a list": (
        OK + "critic:\n  - value\n  - critic: jugde\n",
        "dyna.yaml:4: unknown critic 'jugde' in 'critic[1]'; did you mean 'judge'?",
    ),
    "critic without its name": (
        OK + "critic:\n  - critc: value\n",
        "dyna.yaml:3: the key 'critic' is missing in 'critic[0]'; is 'critc' meant to be it?",
    ),
    # Environment variables.
    "variable is not set": (
        OK + "record: ${RUNS}\n",
        "dyna.yaml:2: environment variable RUNS is not set (in 'record'); set it, or give a "
        "default: ${RUNS:-…}",
    ),
    "variable is empty": (
        OK + "record: ${EMPTY}/log\n",
        "dyna.yaml:2: environment variable EMPTY is empty (in 'record'); set it, or give a "
        "default: ${EMPTY:-…}",
    ),
    "variable cannot be read": (
        OK + "record: ${a b}\n",
        "dyna.yaml:2: cannot read the variable in '${a b}'; write ${NAME}, or $${ where ${ is "
        "meant as it stands",
    ),
    "value of a variable has the wrong type": (
        OK + "simulate: {horizon: '${N}'}\n",
        "dyna.yaml:2: 'simulate.horizon' must be a whole number, got '4'; remove the quotes",
    ),
    # YAML.
    "tab": (
        OK + "limits:\n\tmax_steps: 3\n",
        "dyna.yaml:3: not valid YAML: found character '\\t' that cannot start any token (column 1); "
        "indent with spaces; YAML forbids tabs",
    ),
    "colon in a value": (
        OK + "system_prompt: Remember: be kind\n",
        "dyna.yaml:2: not valid YAML: mapping values are not allowed here (column 24); "
        "put a value that contains ': ' in quotes, and indent a block",
    ),
    "glob without quotes": (
        OK + "tools:\n  *: {timeout: 1}\n",
        "dyna.yaml:3: not valid YAML: expected alphabetic or numeric character, but found ':' (column 4); "
        'a glob that begins with * must be in quotes: "*"',
    ),
    "glob that looks like an alias": (
        OK + "critic: {critic: value, tools: *_file}\n",
        "dyna.yaml:2: not valid YAML: found undefined alias '_file' (column 32); "
        'a glob that begins with * must be in quotes: "*_file"',
    ),
    "bracket": (
        OK + "limits: {max_steps: 3\nmode: shadow\n",
        "dyna.yaml:3: not valid YAML: expected ',' or '}', but got ':' (column 5); "
        "a bracket is opened and never closed",
    ),
    "quote": (
        OK + "system_prompt: 'never closed\n",
        "dyna.yaml:3: not valid YAML: found unexpected end of stream (column 1); a quote is "
        "opened and never closed",
    ),
    "two documents": (
        OK + "---\n" + OK,
        "dyna.yaml:2: a second YAML document begins here; one file holds one configuration",
    ),
    "tag": (
        OK + "record: !!python/object:os.system x\n",
        "dyna.yaml:2: the YAML tag 'tag:yaml.org,2002:python/object:os.system' is not allowed here",
    ),
    "list at the top": ("- a\n- b\n", "dyna.yaml:1: expected 'key: value' settings, found a list"),
    "text at the top": ("hello\n", "dyna.yaml:1: expected 'key: value' settings, found the text 'hello'"),
    "nothing but comments": (
        "# nothing\n",
        "dyna.yaml: the file is empty; `dyna init` writes a starter file",
    ),
    "alias that contains itself": (
        "model: &m {name: openai:x, options: *m}\n",
        "dyna.yaml:1: the alias refers to something that contains it",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_error(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text, expected = CASES[name]
    monkeypatch.chdir(tmp_path)
    Path("dyna.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        DynaConfig.from_file("dyna.yaml", environment={"EMPTY": "", "N": "4"})
    assert expected in str(caught.value).splitlines()


def test_all_errors_are_listed_in_the_order_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("dyna.yaml").write_text(
        """\
model: openai:x
critic:
  - critic: value
    tols: "*"
    minimum: 3
simulate: {horizon: none}
mode: enforce
mode: shadow
record: ${NOPE}
chekpointer: memory
""",
        encoding="utf-8",
    )
    with pytest.raises(ConfigError) as caught:
        DynaConfig.from_file("dyna.yaml", environment={})
    assert [(p.line, p.key) for p in caught.value.problems] == [
        (4, "critic[0].tols"),
        (5, "critic[0].minimum"),
        (6, "simulate.horizon"),
        (8, "mode"),
        (9, "record"),
        (10, "chekpointer"),
    ]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "no such file; `dyna init` writes a starter file"),
        (b"model: \xff\n", "not UTF-8 text (byte 7); save the file as UTF-8"),
        (b"", "the file is empty; `dyna init` writes a starter file"),
    ],
)
def test_files_that_cannot_be_read(tmp_path: Path, content: bytes | None, expected: str) -> None:
    file = tmp_path / "dyna.yaml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        DynaConfig.from_file(file)
    assert str(caught.value) == f"{file}: {expected}"


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        DynaConfig.from_file(tmp_path)


def test_aliases_cannot_blow_up(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    (tmp_path / "dyna.yaml").write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(ConfigError, match="more than 100000 values, aliases counted"):
        DynaConfig.from_file(tmp_path / "dyna.yaml")


def test_anchors_and_merge_keys_work(tmp_path: Path) -> None:
    text = OK + "tools:\n  a: &a {timeout: 5, irreversible: true}\n  b:\n    <<: *a\n    timeout: 7\n"
    (tmp_path / "dyna.yaml").write_text(text, encoding="utf-8")
    tools = DynaConfig.from_file(tmp_path / "dyna.yaml").tools
    assert (tools["b"].timeout, tools["b"].irreversible) == (7.0, True)
