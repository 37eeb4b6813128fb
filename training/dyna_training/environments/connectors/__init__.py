"""Connectors to environments that need machines of their own: virtual desktops, Android emulators, a tool server."""

from dyna_training.environments.connectors.androidworld import AndroidWorldEnv
from dyna_training.environments.connectors.failures import ConnectorError, ForkRefused
from dyna_training.environments.connectors.osworld import OSWorldEnv
from dyna_training.environments.connectors.stabletoolbench import StableToolBenchEnv

__all__ = ["AndroidWorldEnv", "ConnectorError", "ForkRefused", "OSWorldEnv", "StableToolBenchEnv"]
