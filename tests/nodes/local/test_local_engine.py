"""What the engine computes, against plain transformers and against itself in other company."""

from __future__ import annotations

import pytest
import torch
from tiny_llama import tiny_base
from transformers import LlamaForCausalLM

from dyna_nodes.local.batch import CHUNK
from dyna_nodes.local.engine import Engine
from dyna_nodes.local.request import Probe, Request, Token

TEXTS = ["You are in a kitchen.", "> open fridge 1\nThe fridge is open.", "x", "two\n" * 40]


def ids(engine: Engine, text: str) -> list[int]:
    return list(engine.tokenizer.encode(text, add_special_tokens=False))


def logprobs(model: LlamaForCausalLM, tokens: list[int]) -> torch.Tensor:
    with torch.inference_mode():
        return model(torch.tensor([tokens])).logits[0].float().log_softmax(-1)


def greedy(model: LlamaForCausalLM, prefix: list[int], count: int) -> list[int]:
    """Greedy decoding the slow way: a whole forward per token, no cache."""
    tokens = list(prefix)
    for _ in range(count):
        tokens.append(int(logprobs(model, tokens)[-1].argmax()))
        if tokens[-1] == 2:
            break
    return tokens[len(prefix) :]


def test_greedy_is_that_of_transformers_alone_and_in_a_batch(engine: Engine, plain: LlamaForCausalLM) -> None:
    requests = [Request(ids(engine, t), max_new_tokens=12) for t in TEXTS]
    expected = [greedy(plain, list(r.prefix), 12) for r in requests]
    batched = engine.generate(requests)
    assert engine.stats.batches == 1
    engine.clear_store()
    single = [engine.generate([r])[0] for r in requests]
    for want, together, alone in zip(expected, batched, single, strict=True):
        assert list(together.branches[0].ids) == want
        assert list(alone.branches[0].ids) == want


def test_candidates_share_the_prefix_and_equal_single_requests(engine: Engine) -> None:
    prefix = ids(engine, TEXTS[0] * 20)
    [alone] = engine.generate([Request(prefix, max_new_tokens=20)])
    engine.clear_store()
    before = engine.stats.tokens
    [together] = engine.generate([Request(prefix, [()] * 8, max_new_tokens=20)])
    assert {b.ids for b in together.branches} == {alone.branches[0].ids}
    steps = len(alone.branches[0].ids) - 1
    assert engine.stats.tokens - before == len(prefix) + 8 * steps


def test_different_branches_equal_single_requests(engine: Engine, plain: LlamaForCausalLM) -> None:
    prefix = ids(engine, TEXTS[3])
    branches = [ids(engine, t) for t in ("go to shelf 1", "o", "", "take apple 2 from countertop 3")]
    [result] = engine.generate([Request(prefix, branches, max_new_tokens=10, logprobs=True)])
    for branch, given in zip(result.branches, branches, strict=True):
        assert list(branch.ids) == greedy(plain, prefix + given, 10)
        tokens = prefix + given + list(branch.ids)
        table = logprobs(plain, tokens)
        expected = [float(table[i - 1, tokens[i]]) for i in range(len(prefix), len(tokens))]
        assert branch.given_logprobs is not None
        assert branch.logprobs is not None
        assert [*branch.given_logprobs, *branch.logprobs] == pytest.approx(expected, abs=1e-4)


def test_scores_without_generating(engine: Engine, plain: LlamaForCausalLM) -> None:
    prefix, given = ids(engine, TEXTS[1]), ids(engine, "The fridge is closed.")
    [result] = engine.generate([Request(prefix, [given, given[:1]], logprobs=True)])
    table = logprobs(plain, prefix + given)
    expected = [float(table[len(prefix) - 1 + i, t]) for i, t in enumerate(given)]
    assert result.branches[0].ids == ()
    assert result.branches[0].given_logprobs == pytest.approx(expected, abs=1e-4)
    assert result.branches[1].given_logprobs == pytest.approx(expected[:1], abs=1e-4)


@pytest.mark.parametrize("suffix", ["\nReturn: ", ""])
@pytest.mark.parametrize("new_tokens", [0, 7])
def test_a_probe_reads_the_distribution_after_branch_and_suffix(
    engine: Engine, plain: LlamaForCausalLM, suffix: str, new_tokens: int
) -> None:
    prefix, digits = ids(engine, TEXTS[0]), ids(engine, "0123456789")
    branches = [ids(engine, "look"), ids(engine, "go to bed 1")]
    probe = Probe(ids(engine, suffix), digits)
    [result] = engine.generate([Request(prefix, branches, max_new_tokens=new_tokens, probe=probe)])
    for branch, given in zip(result.branches, branches, strict=True):
        written = [i for i in branch.ids if i != 2]
        table = logprobs(plain, [*prefix, *given, *written, *probe.suffix])
        assert branch.probe == pytest.approx(table[-1, digits].tolist(), abs=1e-4)


def test_a_probe_leaves_the_stop_token_out(engine: Engine, plain: LlamaForCausalLM) -> None:
    prefix = ids(engine, TEXTS[0])
    third = greedy(plain, prefix, 3)[2]
    probe = Probe(ids(engine, "?"), [5])
    [result] = engine.generate([Request(prefix, max_new_tokens=9, stop_ids=[third], probe=probe)])
    [branch] = result.branches
    assert branch.finish == "stop"
    assert branch.ids[-1] == third
    assert third not in branch.ids[:-1]
    table = logprobs(plain, [*prefix, *branch.ids[:-1], *probe.suffix])
    assert branch.probe == pytest.approx([float(table[-1, 5])], abs=1e-4)


def test_an_earlier_prefix_is_reused_and_changes_nothing(engine: Engine) -> None:
    turn = ids(engine, TEXTS[3])
    [first] = engine.generate([Request(turn, max_new_tokens=8)])
    longer = [*turn, *first.branches[0].ids, *ids(engine, " and then")]
    [second] = engine.generate([Request(longer, max_new_tokens=8, logprobs=True)])
    assert second.cached_tokens == len(turn) + len(first.branches[0].ids) - 1
    engine.clear_store()
    [fresh] = engine.generate([Request(longer, max_new_tokens=8, logprobs=True)])
    assert fresh.cached_tokens == 0
    assert fresh.branches[0].ids == second.branches[0].ids
    assert fresh.branches[0].logprobs == pytest.approx(second.branches[0].logprobs, abs=1e-4)


def test_every_agent_of_a_crowd_finds_its_last_turn_when_told_how_many_there_are() -> None:
    with Engine(tiny_base(), store_bytes=1) as engine:
        turns = [ids(engine, f"{number} {TEXTS[3]}") for number in range(3)]

        def reused() -> list[bool]:
            engine.generate([Request(turn, max_new_tokens=1) for turn in turns])
            longer = [Request([*turn, *ids(engine, "on")], max_new_tokens=1) for turn in turns]
            return [result.cached_tokens >= len(turns[0]) for result in engine.generate(longer)]

        assert reused() == [False] * 3
        engine.remember(3 * (len(turns[0]) + 4))
        assert reused() == [True] * 3


def test_rows_of_one_batch_share_their_beginning(engine: Engine) -> None:
    common = ids(engine, TEXTS[3])
    requests = [Request([*common, *ids(engine, t)], max_new_tokens=4) for t in TEXTS[:3]]
    before = engine.stats.tokens
    results = engine.generate(requests)
    assert sum(r.cached_tokens for r in results) == 2 * len(common)
    fed = sum(len(r.prefix) for r in requests) - 2 * len(common)
    assert engine.stats.tokens - before == fed + sum(len(r.branches[0].ids) - 1 for r in results)
    for request, result in zip(requests, results, strict=True):
        engine.clear_store()
        assert engine.generate([request])[0].branches[0].ids == result.branches[0].ids


def test_a_prefix_and_a_branch_longer_than_a_chunk(engine: Engine, plain: LlamaForCausalLM) -> None:
    prefix = (ids(engine, TEXTS[0]) * 60)[: CHUNK + 100]
    given = (ids(engine, TEXTS[1]) * 60)[: CHUNK + 7]
    [result] = engine.generate([Request(prefix, [given, given[:9]], max_new_tokens=3, logprobs=True)])
    table = logprobs(plain, prefix + given)
    expected = [float(table[len(prefix) - 1 + i, t]) for i, t in enumerate(given)]
    assert result.branches[0].given_logprobs == pytest.approx(expected, abs=2e-4)
    assert list(result.branches[0].ids) == greedy(plain, prefix + given, 3)
    assert list(result.branches[1].ids) == greedy(plain, prefix + given[:9], 3)


def test_sampling_depends_on_the_seed_alone(engine: Engine) -> None:
    prefix = ids(engine, TEXTS[1])
    one = Request(prefix, [()] * 3, max_new_tokens=15, temperature=1.0, top_p=0.9, seed=7)
    other = [Request(ids(engine, t), [()] * 2, max_new_tokens=5, temperature=0.5) for t in TEXTS]
    [alone] = engine.generate([one])
    engine.clear_store()
    crowd = engine.generate([*other, one, *other])
    assert [b.ids for b in crowd[len(other)].branches] == [b.ids for b in alone.branches]
    assert len({b.ids for b in alone.branches}) == 3
    [fresh] = engine.generate([Request(prefix, [()] * 3, max_new_tokens=15, temperature=1.0, seed=8)])
    assert fresh.branches != alone.branches


def test_samples_follow_the_distribution_and_the_nucleus(engine: Engine, plain: LlamaForCausalLM) -> None:
    prefix = ids(engine, TEXTS[0])
    probabilities = logprobs(plain, prefix)[-1].exp()
    count = 2000
    request = Request(prefix, [()] * count, max_new_tokens=1, temperature=1.0, seed=3)
    [result] = engine.generate([request])
    drawn = torch.bincount(torch.tensor([b.ids[0] for b in result.branches]), minlength=259) / count
    assert float((drawn - probabilities).abs().sum()) / 2 < 0.15  # total variation, mean 0.10 at 2,000 draws
    [result] = engine.generate(
        [Request(prefix, [()] * 300, max_new_tokens=1, temperature=1.0, top_p=0.3, seed=3)]
    )
    ordered = probabilities.sort(descending=True)
    nucleus = set(ordered.indices[: int((ordered.values.cumsum(0) < 0.3).sum()) + 1].tolist())
    assert {b.ids[0] for b in result.branches} == nucleus


def test_top_logprobs_are_the_best_ones(engine: Engine, plain: LlamaForCausalLM) -> None:
    prefix = ids(engine, TEXTS[0])
    [result] = engine.generate([Request(prefix, max_new_tokens=2, top_logprobs=3)])
    [branch] = result.branches
    best = logprobs(plain, [*prefix, branch.ids[0]])[-1].topk(3)
    assert branch.logprobs is None
    assert branch.top_logprobs is not None
    assert [i for i, _ in branch.top_logprobs[1]] == best.indices.tolist()
    assert [p for _, p in branch.top_logprobs[1]] == pytest.approx(best.values.tolist(), abs=1e-4)


def test_streaming_gives_the_text_of_the_result(engine: Engine) -> None:
    seen: list[tuple[int, Token]] = []
    request = Request(
        ids(engine, TEXTS[0]),
        [()] * 2,
        max_new_tokens=30,
        temperature=1.0,
        seed=5,
        on_token=lambda branch, token: seen.append((branch, token)),
    )
    [result] = engine.generate([request])
    for index, branch in enumerate(result.branches):
        tokens = [t for b, t in seen if b == index]
        assert tuple(t.id for t in tokens) == branch.ids
        assert "".join(t.text for t in tokens) == branch.text


def test_a_stop_string_across_tokens_ends_and_is_cut(engine: Engine, plain: LlamaForCausalLM) -> None:
    prefix = ids(engine, TEXTS[2])
    [free] = engine.generate([Request(prefix, [()], max_new_tokens=24, temperature=1.0, seed=1)])
    text = free.branches[0].text
    at = next(
        i for i in range(6, len(text) - 3) if text[i : i + 3].isascii() and text.find(text[i : i + 3]) == i
    )
    seen: list[str] = []
    request = Request(
        prefix,
        max_new_tokens=24,
        temperature=1.0,
        seed=1,
        stop=["never there", text[at : at + 3]],
        on_token=lambda _, token: seen.append(token.text),
    )
    [result] = engine.generate([request])
    assert result.branches[0].finish == "stop"
    assert result.branches[0].text == text[:at]
    assert "".join(seen) == text[:at]
    assert len(result.branches[0].ids) < len(free.branches[0].ids)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prefix": []}, "at least one token"),
        ({"branches": []}, "at least one is needed"),
        ({"prefix": [3, 259]}, "outside the vocabulary"),
        ({"branches": [[-1]]}, r"branches\[0\].*outside the vocabulary"),
        ({"max_new_tokens": 3000}, "the model has 2048"),
        ({"top_p": 0.0}, "0 < top_p"),
        ({"stop": [""]}, "empty string"),
    ],
)
def test_a_request_that_cannot_run_is_refused_at_once(
    engine: Engine, change: dict[str, object], message: str
) -> None:
    settings: dict[str, object] = {"prefix": [5, 6], "max_new_tokens": 1, **change}
    with pytest.raises(ValueError, match=message):
        engine.submit(Request(**settings))  # type: ignore[arg-type]
    assert engine.stats.requests == 0
