"""The store of prefixes: what is found, what covers what, what is dropped first."""

from __future__ import annotations

import torch

from dyna_nodes.local.store import PrefixStore

BYTES = 2 * 2 * 1 * 4 * 4  # per token of `kv`


def kv(tokens: int, value: float = 0.0) -> torch.Tensor:
    return torch.full((2, 2, tokens, 1, 4), value)


def test_the_longest_common_beginning_is_found_per_adapter() -> None:
    store = PrefixStore(1000 * BYTES)
    store.put(None, [1, 2, 3, 4], kv(4, 1))
    store.put(None, [1, 2, 9], kv(3, 2))
    store.put("policy", [1, 2, 3, 4, 5], kv(5, 3))
    length, found = store.match(None, [1, 2, 3, 7])
    assert (length, found is not None and found.shape[2]) == (3, 3)
    assert found is not None
    assert float(found.max()) == 1
    assert store.match("policy", [1, 2, 3, 4, 5, 6])[0] == 5
    assert store.match("other", [1, 2]) == (0, None)
    assert store.match(None, [8]) == (0, None)


def test_a_longer_sequence_takes_the_place_of_its_beginning() -> None:
    store = PrefixStore(1000 * BYTES)
    store.put(None, [1, 2], kv(2))
    store.put(None, [1, 2, 3], kv(3))
    assert store.used == 3 * BYTES
    store.put(None, [1, 2], kv(2))
    assert store.used == 3 * BYTES


def test_the_budget_holds_and_the_oldest_goes_first() -> None:
    store = PrefixStore(5 * BYTES)
    store.put(None, [1, 1], kv(2))
    store.put(None, [2, 2], kv(2))
    assert store.match(None, [1, 1])[0] == 2  # used again, so the other is the oldest now
    store.put(None, [3, 3], kv(2))
    assert store.used == 4 * BYTES
    assert [store.match(None, [i, i])[0] for i in (1, 2, 3)] == [2, 0, 2]
    store.put(None, [4] * 6, kv(6))
    assert store.match(None, [4] * 6)[0] == 0


def test_what_is_stored_is_a_copy() -> None:
    store = PrefixStore(1000 * BYTES)
    source = kv(2, 1)
    store.put(None, [1, 2], source)
    source.zero_()
    found = store.match(None, [1, 2])[1]
    assert found is not None
    assert float(found.min()) == 1


def test_forgetting_an_adapter_and_everything() -> None:
    store = PrefixStore(1000 * BYTES)
    store.put(None, [1], kv(1))
    store.put("a", [1], kv(1))
    store.forget("a")
    assert (store.match("a", [1])[0], store.match(None, [1])[0]) == (0, 1)
    store.clear()
    assert (store.used, store.match(None, [1])[0]) == (0, 0)
