"""Text environments that an agent acts in and a world model learns from.

Importing this package registers the environments with gymnasium, so that
``gymnasium.make("dyna/ALFWorld-v0")`` works; the id
``dyna_training.environments:dyna/ALFWorld-v0`` imports it by itself.
"""

import gymnasium

from dyna_training.environments.base import Expert, Foreseeing, ForkableEnv, GameFileError, PackageMissing

ENVIRONMENTS: dict[str, str] = {
    "dyna/ALFWorld-v0": "dyna_training.environments.alfworld.env:AlfworldEnv",
    "dyna/Maze-v0": "dyna_training.environments.maze.env:MazeEnv",
    "dyna/MiniWoB-v0": "dyna_training.environments.miniwob.env:MiniWobEnv",
    "dyna/Sokoban-v0": "dyna_training.environments.sokoban.env:SokobanEnv",
    "dyna/Taxi-v0": "dyna_training.environments.taxi.env:TaxiEnv",
    "dyna/ScienceWorld-v0": "dyna_training.environments.scienceworld.env:ScienceWorldEnv",
    "dyna/TextWorld-v0": "dyna_training.environments.textworld.env:TextWorldEnv",
    "dyna/WebShop-v0": "dyna_training.environments.webshop.env:WebShopEnv",
    "dyna/BFCL-v0": "dyna_training.environments.bfcl.env:BfclEnv",
    "dyna/OSWorld-v0": "dyna_training.environments.connectors.osworld:OSWorldEnv",
    "dyna/AndroidWorld-v0": "dyna_training.environments.connectors.androidworld:AndroidWorldEnv",
    "dyna/StableToolBench-v0": "dyna_training.environments.connectors.stabletoolbench:StableToolBenchEnv",
}
"""Gymnasium id to ``module:class`` of every environment in this package."""


def register() -> None:
    """Register every environment of this package with gymnasium; a second call does nothing."""
    for name, entry_point in ENVIRONMENTS.items():
        if name not in gymnasium.registry:
            # The passive checker would step through spaces on each call and hide fork() behind a wrapper.
            gymnasium.register(
                id=name, entry_point=entry_point, disable_env_checker=True, order_enforce=False
            )


register()

__all__ = [
    "ENVIRONMENTS",
    "Expert",
    "Foreseeing",
    "ForkableEnv",
    "GameFileError",
    "PackageMissing",
    "register",
]
