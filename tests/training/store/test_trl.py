"""TRL takes what is exported for it: its trainers are made and take a step, on a tiny real model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("trl")

import torch
from datasets import load_dataset
from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

from dyna_nodes.codec import ChatCodec, WorldModelCodec
from dyna_nodes.nouns import Prediction
from tests.nodes.local.tiny_llama import tiny_model, tiny_tokenizer
from tests.training.store.anything import dyna, episode, written

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def tokenizer() -> Any:
    found = tiny_tokenizer()
    found.chat_template = CHATML
    return found


EPISODES = [episode(f"e{i}", "look", f"go to desk {i}", game=f"g/{i}") for i in range(4)]


def exported(tmp_path: Path, format: str, *options: str) -> Any:
    wrong = {"prediction": Prediction(observation="Nothing happens.")}
    episodes = [
        t.model_copy(update={"transitions": tuple(s.model_copy(update=wrong) for s in t.transitions)})
        for t in EPISODES
    ]
    lines = written(tmp_path / "in.jsonl", *episodes)
    code, said = dyna("data", "export", lines, "--format", format, *options, "--out", tmp_path / "out")
    assert code == 0, said
    file = tmp_path / "out" / f"{format}.jsonl"
    return load_dataset("json", data_files=str(file), split="train", cache_dir=str(tmp_path / "cache"))


def arguments(tmp_path: Path) -> dict[str, Any]:
    return {
        "output_dir": str(tmp_path / "run"),
        "max_steps": 1,
        "per_device_train_batch_size": 2,
        "max_length": None,
        "report_to": [],
        "use_cpu": True,
        "bf16": False,
        "save_strategy": "no",
        "disable_tqdm": True,
    }


def sft(tmp_path: Path, dataset: Any, tokenizer: Any) -> Any:
    config = SFTConfig(**arguments(tmp_path))
    return SFTTrainer(
        model=tiny_model(hidden=24), args=config, train_dataset=dataset, processing_class=tokenizer
    )


def test_conversations_are_the_tokens_of_the_codec(tmp_path: Path, tokenizer: Any) -> None:
    trainer = sft(tmp_path, exported(tmp_path, "trl-sft"), tokenizer)
    wanted = WorldModelCodec(ChatCodec(tiny_tokenizer()))
    assert [row["input_ids"] for row in trainer.train_dataset] == [wanted.example(t).ids for t in EPISODES]
    assert trainer.train().training_loss > 0


@pytest.mark.parametrize("learner", ["world-model", "policy"])
def test_of_a_prompt_and_completion_the_completion_alone_is_learned(
    tmp_path: Path, tokenizer: Any, learner: str
) -> None:
    trainer = sft(tmp_path, exported(tmp_path, "trl-prompt-completion", "--for", learner), tokenizer)
    assert len(trainer.train_dataset) == 8
    batch = trainer.data_collator([trainer.train_dataset[0]])
    learned = tokenizer.decode([i for i in batch["labels"][0].tolist() if i >= 0])
    answer = "You look." if learner == "world-model" else "I look.\n> look"
    assert learned.strip() == f"{answer}<|im_end|>"
    assert trainer.train().training_loss > 0


def test_preferences_are_learned(tmp_path: Path, tokenizer: Any) -> None:
    dataset = exported(tmp_path, "trl-preference")
    config = DPOConfig(**arguments(tmp_path))
    trainer = DPOTrainer(
        model=tiny_model(hidden=24),
        ref_model=tiny_model(hidden=24),
        args=config,
        train_dataset=dataset,
        processing_class=tokenizer,
    )
    assert len(trainer.train_dataset) == 8
    assert trainer.train().training_loss > 0
