"""`DynaMiddleware`: an agent of `langchain.agents.create_agent` that imagines its actions before it executes them."""

from dyna_graph.middleware.gate import gated, not_vetoed, predicted
from dyna_graph.middleware.middleware import DynaMiddleware

__all__ = ["DynaMiddleware", "gated", "not_vetoed", "predicted"]
