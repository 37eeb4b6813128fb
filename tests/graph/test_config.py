"""What a dyna.yaml may say, and what it means."""

from __future__ import annotations

import json
import re
from pathlib import Path
from random import Random
from typing import Any

import pytest

from dyna_graph.config import SCHEMA_FILE, ConfigError, DynaConfig, schema_text
from dyna_graph.config.reference import BEGIN, in_page, reference_text
from dyna_graph.config.source import escaped, parse_source, write_yaml
from dyna_graph.config.starter import STARTER
from dyna_nodes.settings import LoopSettings
from dyna_nodes.settings import ToolSettings as LoopToolSettings

ROOT = Path(__file__).parents[2]


def load(tmp_path: Path, text: str, **environment: str) -> DynaConfig:
    file = tmp_path / "dyna.yaml"
    file.write_text(text, encoding="utf-8")
    return DynaConfig.from_file(file, environment=environment)


def test_the_short_form_is_three_lines(tmp_path: Path) -> None:
    config = load(
        tmp_path, "model: openai:gpt-5-mini\nworld_model: local:smollm2+my-adapter\ncritic: value\n"
    )
    assert config.policy.name == "openai:gpt-5-mini"
    assert config.world_model.kind == "trained"
    assert config.world_model.model is not None
    assert config.world_model.model.name == "local:smollm2+my-adapter"
    assert [(c.critic, c.tools) for c in config.critic] == [("value", ("*",))]


@pytest.mark.parametrize(
    ("written", "kind"),
    [
        ("local:smollm2+a", "trained"),
        ("local:smollm2", "chat"),
        ("vllm:qwen@http://gpu:8000/v1", "chat"),
        ("anthropic:claude-x", "chat"),
        ("environment", "environment"),
        ("none", "none"),
        ("{model: local:smollm2+a}", "trained"),
        ("{kind: trained, model: vllm:mine}", "trained"),
        ("{kind: chat, model: {name: openai:x, temperature: 0}}", "chat"),
    ],
)
def test_kinds_of_world_models(tmp_path: Path, written: str, kind: str) -> None:
    assert load(tmp_path, f"model: openai:x\nworld_model: {written}\n").world_model.kind == kind


def test_the_long_form(tmp_path: Path) -> None:
    config = load(
        tmp_path,
        """\
model: {name: openai:gpt-5-mini, temperature: 0.7, max_tokens: 512, timeout: 30, options: {seed: 1}}
critic:
  - {critic: value, tools: "act", minimum: 0.1}
  - critic: judge
tools:
  "delete_*": {irreversible: yes, timeout: 1e1}
  "*": {simulate: off}
record: {folder: log, level: power}
limits: {max_steps: 0x10}
""",
    )
    assert config.policy.keywords() == {"temperature": 0.7, "max_tokens": 512, "timeout": 30.0, "seed": 1}
    assert [(c.critic, c.tools) for c in config.critic] == [("value", ("act",)), ("judge", ("*",))]
    assert config.tools["delete_*"].irreversible is True
    assert config.tools["delete_*"].timeout == 10.0
    assert config.tools["*"].simulate is False
    assert config.record is not None
    assert config.record.level == "power"
    assert config.limits.max_steps == 16


def test_a_section_whose_keys_are_all_commented_out_has_its_defaults(tmp_path: Path) -> None:
    config = load(tmp_path, "model: openai:x\nsimulate:\n  # candidates: 4\ncritic:\nrecord:\ntools:\n")
    assert config.simulate.candidates == 1
    assert config.critic == ()
    assert config.record is None


def test_variables_are_filled_in_and_never_written_out(tmp_path: Path) -> None:
    text = """\
model: {name: "vllm:qwen@${URL}", options: {api_key: "${KEY}", note: "$${KEY}"}}
simulate:
  candidates: ${N}
world_model: ${WM:-none}
"""
    config = load(tmp_path, text, URL="http://gpu:8000/v1", KEY="secret", N="4")
    assert config.policy.name == "vllm:qwen@http://gpu:8000/v1"
    assert config.policy.options == {"api_key": "secret", "note": "${KEY}"}
    assert config.simulate.candidates == 4
    assert config.world_model.kind == "none"
    config.to_file(tmp_path / "again.yaml")
    written = (tmp_path / "again.yaml").read_text(encoding="utf-8")
    assert "secret" not in written
    assert "${KEY}" in written
    assert "secret" not in config.to_yaml(defaults=True)
    again = DynaConfig.from_file(
        tmp_path / "again.yaml", environment={"URL": "http://gpu:8000/v1", "KEY": "secret", "N": "4"}
    )
    assert again == config


ROUND_TRIPS: list[dict[str, Any]] = [
    {"model": "openai:x"},
    {"model": "openai:x", "system_prompt": "Two\nlines: with # signs\n", "mode": "shadow"},
    {"model": {"name": "local:a", "temperature": 0.5}, "world_model": "local:a+b", "critic": "value"},
    {"model": "openai:x", "world_model": {"kind": "chat", "model": "local:a+b"}},
    {
        "model": "openai:x",
        "critic": [{"critic": "judge", "tools": ["a*", "b"]}, {"critic": "value", "trust": True}],
    },
    {
        "model": "openai:x",
        "system_prompt": "off",
        "tools": {"no": {"simulate": False}, "1e3": {"timeout": 1e-05}},
    },
    {"model": "openai:x", "system_prompt": "${NOT_A_VARIABLE}", "checkpointer": "sqlite:a.sqlite"},
    {
        "model": "openai:x",
        "system_prompt": "trailing \nspace ☃ 'quotes' \"double\" \\",
        "record": "2026-01-01",
    },
]


@pytest.mark.parametrize("data", ROUND_TRIPS)
@pytest.mark.parametrize("defaults", [False, True])
def test_what_is_written_reads_back_the_same(tmp_path: Path, data: dict[str, Any], defaults: bool) -> None:
    config = DynaConfig.from_dict(data)
    assert DynaConfig.from_dict(config.to_dict(defaults=defaults)) == config
    (tmp_path / "dyna.yaml").write_text(config.to_yaml(defaults=defaults), encoding="utf-8")
    assert DynaConfig.from_file(tmp_path / "dyna.yaml", environment={}) == config


def test_any_text_reads_back_the_same() -> None:
    random = Random(0)
    parts = [
        *"a1e+-._: #'\"\\\t\n\r${}[]*&!|>%@`~=,?é☃😀\x00\x7f\x85\u2028\ufeff",
        "  ",
        "${A}",
        "$${",
        "null",
        "yes",
    ]
    parts += ["<<", "0x1", "1e3", "true", "---", "\n\n"]
    for _ in range(3000):
        text = "".join(random.choice(parts) for _ in range(random.randint(0, 8)))
        data = {"key": escaped(text), "list": [{"inner": escaped(text)}], text: 1}
        source = parse_source(write_yaml(data), environment={})
        assert source.problems == []
        assert source.data == {"key": text, "list": [{"inner": text}], text: 1}


def test_the_file_tells_editors_its_schema(tmp_path: Path) -> None:
    DynaConfig.from_dict({"model": "openai:x"}).to_file(tmp_path / "agent.yaml")
    first = (tmp_path / "agent.yaml").read_text(encoding="utf-8").splitlines()[0]
    assert first == f"# yaml-language-server: $schema=./{SCHEMA_FILE}"
    assert json.loads((tmp_path / SCHEMA_FILE).read_text(encoding="utf-8"))["title"] == "dyna.yaml"


def test_the_starter_file_is_valid_and_mentions_every_section(tmp_path: Path) -> None:
    config = load(tmp_path, STARTER)
    assert config.mode == "shadow"
    left_out = {key for key in DynaConfig.model_fields if f"{key}:" not in STARTER}
    assert left_out == {"system_prompt", "memory", "journal"}


def test_the_schema_in_the_package_is_up_to_date() -> None:
    import dyna_graph.config as package

    file = Path(package.__file__).parent / SCHEMA_FILE
    assert file.read_text(encoding="utf-8") == schema_text(), f"run: dyna schema --out {file}"


def test_the_schema_explains_every_key() -> None:
    schema = DynaConfig.json_schema()
    sections = [schema, *schema["$defs"].values()]
    properties = [(s.get("title"), k, p) for s in sections for k, p in s.get("properties", {}).items()]
    properties += [
        (name, k, p)
        for name, s in schema["$defs"].items()
        for form in s.get("anyOf", [])
        for k, p in form.get("properties", {}).items()
    ]
    assert len(properties) > 40
    assert [(t, k) for t, k, p in properties if not (p.get("description") or "$ref" in p)] == []
    assert [name for name, s in schema["$defs"].items() if not _described(s)] == []


def test_the_schema_accepts_what_the_loader_accepts() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    validator = jsonschema.Draft202012Validator(DynaConfig.json_schema())
    validator.check_schema(validator.schema)
    page = (ROOT / "docs" / "reference" / "configuration.md").read_text(encoding="utf-8")
    texts = [STARTER, *re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)]
    files = [parse_source(text).data for text in texts] + ROUND_TRIPS
    files += [DynaConfig.from_dict(data).to_dict(defaults=d) for data in files for d in (False, True)]
    for file in files:
        assert [error.message for error in validator.iter_errors(file)] == []
    for wrong in ({"model": "a:b", "mod": "shadow"}, {"model": "a:b", "critic": "valeu"}):
        assert not validator.is_valid(wrong)


def _described(definition: dict[str, Any]) -> bool:
    return all(form.get("description") for form in definition.get("anyOf", [definition]))


def test_every_setting_of_the_loop_can_be_configured_and_has_the_same_default() -> None:
    config = DynaConfig.from_dict({"model": "openai:x"})
    sections = (config.simulate, config.critique, config.limits)
    given = {key: value for section in sections for key, value in section}
    del given["unmatched"]  # belongs to the list of critics
    given |= {"mode": config.mode, "memory": config.memory, "dry_run": config.dry_run}
    given["tools"] = dict(config.tools)
    assert given == dict(LoopSettings())
    tool = DynaConfig.from_dict({"model": "openai:x", "tools": {"a": {}}}).tools["a"]
    assert dict(tool) == dict(LoopToolSettings())


def test_settings_do_not_change() -> None:
    config = DynaConfig.from_dict({"model": "openai:x"})
    with pytest.raises(ValueError, match="frozen"):
        config.mode = "shadow"


def test_a_dictionary_has_errors_without_lines() -> None:
    with pytest.raises(ConfigError) as caught:
        DynaConfig.from_dict({"model": "openai:x", "simulate": {"candidtes": 2}})
    assert str(caught.value) == "unknown key 'candidtes' in 'simulate'; did you mean 'candidates'?"
    assert caught.value.problems[0].key == "simulate.candidtes"


def test_the_reference_page_is_up_to_date() -> None:
    page = ROOT / "docs" / "reference" / "configuration.md"
    text = page.read_text(encoding="utf-8")
    assert BEGIN in text
    assert text == in_page(text, reference_text()), f"run: dyna schema --markdown --out {page}"


def test_the_examples_of_the_reference_page_are_valid(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "reference" / "configuration.md").read_text(encoding="utf-8")
    examples = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    assert len(examples) == 2
    for example in examples:
        load(tmp_path, example)
