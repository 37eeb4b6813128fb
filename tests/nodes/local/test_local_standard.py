"""LangChain's own suites for chat models, on the embedded base; what it cannot do is not asked of it."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("langchain_tests", reason="pip install langchain-tests")

from langchain_core.language_models import BaseChatModel
from langchain_tests.integration_tests import ChatModelIntegrationTests
from langchain_tests.unit_tests import ChatModelUnitTests

from dyna_nodes.local import LocalChatModel

SMALL = "the embedded base has 135M parameters and seldom calls a tool that it has never been trained on"


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


class TestIntegration(ChatModelIntegrationTests):
    """The same class with a model behind it: streaming, batches, usage, stop strings, histories with tools."""

    standard_chat_model_params: dict[str, Any] = {  # type: ignore[assignment]  # noqa: RUF012
        "temperature": 0,
        "max_tokens": 24,
    }

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return LocalChatModel

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"tool_format": "template"}

    @property
    def has_tool_choice(self) -> bool:
        return False  # nothing here forces a model to write what it does not

    @property
    def has_structured_output(self) -> bool:
        return False  # likewise

    @pytest.mark.xfail(reason=SMALL, run=False)
    def test_tool_calling(self, model: BaseChatModel) -> None: ...

    @pytest.mark.xfail(reason=SMALL, run=False)
    async def test_tool_calling_async(self, model: BaseChatModel) -> None: ...

    @pytest.mark.xfail(reason=SMALL, run=False)
    def test_bind_runnables_as_tools(self, model: BaseChatModel) -> None: ...

    @pytest.mark.xfail(reason=SMALL, run=False)
    def test_tool_calling_with_no_arguments(self, model: BaseChatModel) -> None: ...

    @pytest.mark.xfail(reason=SMALL, run=False)
    def test_agent_loop(self, model: BaseChatModel) -> None: ...

    @pytest.mark.xfail(reason=SMALL, run=False)
    def test_unicode_tool_call_integration(self, model: BaseChatModel, **_: Any) -> None: ...
