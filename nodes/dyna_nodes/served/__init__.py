"""Models trained here behind a vLLM server: the same prompts, calls and figures as in process.

The client writes and reads token ids with the project's codec, so that a server's chat template and tool parser make
no difference. Needs httpx and the base model's tokenizer (the extras ``vllm`` and ``local``), no weights and no GPU.
"""

from dyna_nodes.served.chat_model import ServedChatModel
from dyna_nodes.served.engine import ServedEngine, get_served_engine
from dyna_nodes.served.server import ServerError

__all__ = ["ServedChatModel", "ServedEngine", "ServerError", "get_served_engine"]
