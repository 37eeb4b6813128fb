"""A chat model trained here, behind a vLLM server."""

from __future__ import annotations

from typing import Any

from pydantic import Field, SecretStr

from dyna_nodes.local.engine_chat_model import EngineChatModel
from dyna_nodes.served.engine import ServedEngine, get_served_engine


class ServedChatModel(EngineChatModel):
    """A chat model behind a vLLM server that is asked and read as `dyna_nodes.local.LocalChatModel` is.

    The prompt is made here, token by token, by the codec that the model was trained with; so no text from tools can
    forge a turn, calls are read by the same rules, and greedy answers are those of the model in process, up to the
    rounding of two programs.

    Attributes:
        model: The server's name of the model, such as ``smollm2+alfworld-policy``.
        url: Address of the server, ``/v1`` included.
        base: The base model, whose tokenizer is read from here.
        api_key: Sent as a bearer token.

    The settings of sampling, tools and output are those of `EngineChatModel`.

    Example:
        ```python
        model = ServedChatModel(model="smollm2+alfworld-policy", url="http://127.0.0.1:8000/v1").bind_tools([act])
        message = await model.ainvoke("You are in a kitchen. Your task is to: find an apple.")
        ```
    """

    model: str
    url: str
    api_key: SecretStr = Field(default=SecretStr("none"))

    @property
    def _llm_type(self) -> str:
        return "dyna-served"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"model": self.model, "url": self.url, **super()._identifying_params}

    @property
    def _name(self) -> str:
        return self.model

    @property
    def _adapter_name(self) -> str | None:
        return self.model

    def load(self) -> ServedEngine:
        """Return the engine of the server; only the tokenizer is loaded, and nothing is asked.

        Raises:
            LocalModelError: The tokenizer cannot be loaded.
        """
        return get_served_engine(self.url, self.base, self.api_key.get_secret_value())
