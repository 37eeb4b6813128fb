"""A server on loopback that answers completions as vLLM 0.32 does, from a real engine in this process."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler
from typing import Any

from dyna_nodes.local.engine import Branch, Engine, Probe, Request
from tests.graph.loopback import Reply, send


def completions(engine: Engine, adapters: dict[str, str | None]) -> Reply:
    """Return a reply that runs what it is asked; ``adapters`` says which adapter a model's name stands for."""

    def reply(handler: BaseHTTPRequestHandler) -> None:
        body = handler.asked  # type: ignore[attr-defined]
        if body["model"] not in adapters:
            message = {"error": {"message": f"The model `{body['model']}` does not exist.", "code": 404}}
            return send(handler, json.dumps(message).encode(), status=404)
        choices = _choices(engine, body, adapters[body["model"]])
        shared = {"id": "1", "object": "text_completion", "created": 1, "model": body["model"]}
        usage = {"prompt_tokens": len(body["prompt"]), "prompt_tokens_details": {"cached_tokens": 0}}
        if not body.get("stream"):
            return send(handler, json.dumps({**shared, "choices": choices, "usage": usage}).encode())
        parts = [{**shared, "choices": [part]} for part in _parts(choices[0])]
        parts.append({**shared, "choices": [], "usage": usage})
        data = "".join(f"data: {json.dumps(part)}\n\n" for part in parts) + "data: [DONE]\n\n"
        return send(handler, data.encode())

    return reply


def _choices(engine: Engine, body: dict[str, Any], adapter: str | None) -> list[dict[str, Any]]:
    prompt, count = body["prompt"], body.get("n", 1)
    assert count == 1 or body["temperature"] > 0, "vLLM refuses several greedy answers"
    if "logprob_token_ids" in body:
        among = body["logprob_token_ids"]
        assert body["logprobs"] == len(among)
        request = Request(prompt[:-1], [prompt[-1:]], probe=Probe((), among), adapter=adapter)
        [branch] = engine.generate([request])[0].branches
        best = {f"token_id:{i}": p for i, p in zip(among, branch.probe or (), strict=True)}
        logprobs = {"token_logprobs": [-1.0], "top_logprobs": [best | {"token_id:7": -0.5}]}
        return [{"index": 0, "token_ids": None, "logprobs": logprobs, "finish_reason": "length"}]
    request = Request(
        prompt,
        [()] * count,
        max_new_tokens=body["max_tokens"],
        temperature=body["temperature"],
        top_p=body.get("top_p", 1.0),
        stop=body.get("stop", ()),
        stop_ids=body.get("stop_token_ids"),
        seed=body.get("seed"),
        logprobs="logprobs" in body,
        top_logprobs=body.get("logprobs", 0),
        adapter=adapter,
    )
    branches = engine.generate([request])[0].branches
    choices = [_choice(index, branch) for index, branch in enumerate(branches)]
    if "prompt_logprobs" in body:
        [scored] = engine.generate([Request(prompt[:1], [prompt[1:]], logprobs=True, adapter=adapter)])[
            0
        ].branches
        rows = zip(prompt[1:], scored.given_logprobs or (), strict=True)
        choices[0]["prompt_logprobs"] = [None, *({str(i): {"logprob": p, "rank": 1}} for i, p in rows)]
    return choices


def _choice(index: int, branch: Branch) -> dict[str, Any]:
    logprobs = None
    if branch.logprobs is not None:
        tops = [{f"token_id:{i}": p for i, p in top} for top in branch.top_logprobs or ()]
        logprobs = {"token_logprobs": [*branch.logprobs], "top_logprobs": tops}
    return {"index": index, "token_ids": [*branch.ids], "logprobs": logprobs, "finish_reason": branch.finish}


def _parts(choice: dict[str, Any]) -> list[dict[str, Any]]:
    """Cut an answer into parts of one token, the last of which says why it ended."""
    parts = []
    for place, token in enumerate(choice["token_ids"]):
        logprobs = choice["logprobs"] and {k: [v[place]] for k, v in choice["logprobs"].items() if v}
        last = place == len(choice["token_ids"]) - 1
        finish = choice["finish_reason"] if last else None
        parts.append({"index": 0, "token_ids": [token], "logprobs": logprobs, "finish_reason": finish})
    return parts
