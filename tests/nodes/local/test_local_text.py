"""Text as it comes: half characters, stop strings across tokens, long answers."""

from __future__ import annotations

import random

import pytest
from tiny_llama import tiny_tokenizer
from transformers import AutoTokenizer

from dyna_nodes.local.base import resolve_base
from dyna_nodes.local.text import TextStream, decode

TOKENIZER = tiny_tokenizer()


def push_all(stream: TextStream, ids: list[int]) -> list[str]:
    parts = []
    for token in ids:
        parts.append(stream.push(token))
        if stream.stopped:
            break
    return [*parts, stream.finish()]


def test_characters_of_several_bytes_come_whole() -> None:
    ids = TOKENIZER.encode("né 漢🙂", add_special_tokens=False)
    assert len(ids) > 8  # a token per byte
    parts = push_all(TextStream(TOKENIZER, []), ids)
    assert [p for p in parts if p] == ["n", "é", " ", "漢", "🙂"]


def test_a_half_character_at_the_end_is_shown_as_such() -> None:
    ids = TOKENIZER.encode("a漢", add_special_tokens=False)[:-1]
    stream = TextStream(TOKENIZER, [])
    assert "".join(push_all(stream, ids)) == stream.text == decode(TOKENIZER, ids)


def test_what_may_become_a_stop_string_is_held_back() -> None:
    stream = TextStream(TOKENIZER, ["\nObservation", "END"])
    ids = TOKENIZER.encode("ab\nObE", add_special_tokens=False)
    parts = [stream.push(i) for i in ids]
    assert parts == ["a", "b", "", "", "", "\nOb"]
    assert stream.finish() == "E"
    assert not stream.stopped


def test_the_first_stop_string_wins_and_is_cut() -> None:
    stream = TextStream(TOKENIZER, ["long stop", "stop"])
    parts = push_all(stream, TOKENIZER.encode("a long stop here", add_special_tokens=False))
    assert stream.stopped
    assert "".join(parts) == stream.text == "a "


@pytest.mark.parametrize("seed", range(4))
def test_long_texts_of_random_tokens_equal_one_decoding(seed: int) -> None:
    tokenizer = AutoTokenizer.from_pretrained(resolve_base("smollm2"))
    chance = random.Random(seed)
    ids = [chance.randrange(len(tokenizer)) for _ in range(200)]
    stream = TextStream(tokenizer, ["never there"])
    parts = push_all(stream, ids)
    assert "".join(parts) == stream.text == decode(tokenizer, ids)


def test_decoding_stays_linear(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def counting(tokenizer: object, ids: list[int]) -> str:
        seen.append(len(ids))
        return decode(tokenizer, ids)

    monkeypatch.setattr("dyna_nodes.local.text.decode", counting)
    push_all(TextStream(TOKENIZER, []), TOKENIZER.encode("word " * 200, add_special_tokens=False))
    assert max(seen) < 40
