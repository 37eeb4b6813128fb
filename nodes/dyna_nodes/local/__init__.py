"""The local model: an inference engine in process, and a LangChain chat model on it.

Needs the extra ``local``; torch is imported when a model is loaded, not before.
"""

from dyna_nodes.local.base import Base, LocalModelError, load_base, write_fingerprint
from dyna_nodes.local.chat_model import LocalChatModel
from dyna_nodes.local.engine import Engine, get_engine
from dyna_nodes.local.request import Branch, Probe, Request, Result, Token

__all__ = [
    "Base",
    "Branch",
    "Engine",
    "LocalChatModel",
    "LocalModelError",
    "Probe",
    "Request",
    "Result",
    "Token",
    "get_engine",
    "load_base",
    "write_fingerprint",
]
