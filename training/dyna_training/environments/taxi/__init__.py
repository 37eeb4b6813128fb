"""Gymnasium's Taxi as a text environment, with its own rules and an expert that is solved from them."""

from dyna_training.environments.taxi.env import TaxiEnv
from dyna_training.environments.taxi.rules import COMMANDS, PLACES, Scene
from dyna_training.environments.taxi.splits import SPLITS, games

__all__ = ["COMMANDS", "PLACES", "SPLITS", "Scene", "TaxiEnv", "games"]
