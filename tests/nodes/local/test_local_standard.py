"""LangChain's own suite for chat models; what the small embedded base cannot do is not asked of it."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("langchain_tests", reason="pip install langchain-tests")

from langchain_core.language_models import BaseChatModel
from langchain_tests.unit_tests import ChatModelUnitTests

from dyna_nodes.local import LocalChatModel


class TestStandard(ChatModelUnitTests):
    # There is nothing to retry in a model that runs here.
    standard_chat_model_params: dict[str, Any] = {  # type: ignore[assignment]  # noqa: RUF012
        "temperature": 0,
        "max_tokens": 100,
        "timeout": 60,
        "stop": [],
    }

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return LocalChatModel

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"tool_format": "template"}
