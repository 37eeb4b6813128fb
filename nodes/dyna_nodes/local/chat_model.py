"""A LangChain chat model in process."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from dyna_nodes.local.base import LocalModelError
from dyna_nodes.local.engine import Engine, get_engine
from dyna_nodes.local.engine_chat_model import EngineChatModel


class LocalChatModel(EngineChatModel):
    """A chat model that runs here, in this process.

    All models of one base share its weights and one queue: concurrent calls, threads and tasks become one
    ragged batch, ``n`` generations share their prompt, and an agent's next turn continues what the last one
    computed.

    Attributes:
        base: ``smollm2``, a folder, or the id of a model on the hub.
        adapter: A folder with a peft adapter, or the name of one that the engine has loaded; None is the base
            alone.
        dtype: Of weights and computation. Greedy answers are independent of the batch in ``float32`` only.
        device: A torch device.
        merge: Whether the adapter is merged into a copy of the weights it changes (faster, more memory).

    The settings of sampling, tools and output are those of `EngineChatModel`.

    Example:
        ```python
        model = LocalChatModel(adapter="adapters/policy").bind_tools([act])
        message = model.invoke("You are in a kitchen. Your task is to: find an apple.")
        print(message.tool_calls)
        ```
    """

    adapter: Path | str | None = None
    dtype: Literal["bfloat16", "float32", "float16"] = "bfloat16"
    device: str = "cpu"
    merge: bool = True

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"adapter": self.adapter, "dtype": self.dtype, **super()._identifying_params}

    @property
    def _name(self) -> str:
        return self.base if self.adapter is None else f"{self.base}+{Path(self.adapter).name}"

    @property
    def _adapter_name(self) -> str | None:
        return None if self.adapter is None else str(Path(self.adapter).expanduser())

    def load(self) -> Engine:
        """Load base and adapter, as far as this process has not, and return their engine.

        Raises:
            LocalModelError: The base or the adapter cannot be used.
        """
        engine = get_engine(self.base, self.dtype, self.device)
        name = self._adapter_name
        if name is not None and name not in engine.adapters:
            if not Path(name).is_dir():
                known = ", ".join(engine.adapters) or "none"
                raise LocalModelError(f"adapter {name!r} is neither a folder nor loaded; loaded: {known}")
            engine.load_adapter(name, name, merge=self.merge)
        return engine
