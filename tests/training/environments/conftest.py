"""A small hand-written household whose every line is known, and helpers."""

import pytest

from dyna_training.environments.alfworld.game import Game, compile_game

# Two drawers stand together, the shelf and the desk stand together, and the lettuce is cold from the start.
PROBLEM = """
(define (problem small) (:domain alfred)
(:objects agent1 - agent)
(:init
 (atLocation agent1 loc_0)
 (receptacleType Drawer_bar_1 DrawerType) (receptacleType Drawer_bar_2 DrawerType)
 (receptacleType Desk_bar_1 DeskType) (receptacleType Shelf_bar_1 ShelfType)
 (receptacleType Fridge_bar_1 FridgeType) (receptacleType Sink_bar_1_bar_SinkBasin SinkBasinType)
 (receptacleAtLocation Drawer_bar_1 loc_1) (receptacleAtLocation Drawer_bar_2 loc_1)
 (receptacleAtLocation Desk_bar_1 loc_2) (receptacleAtLocation Shelf_bar_1 loc_2)
 (receptacleAtLocation Fridge_bar_1 loc_3) (receptacleAtLocation Sink_bar_1_bar_SinkBasin loc_4)
 (openable Drawer_bar_1) (openable Drawer_bar_2) (openable Fridge_bar_1)
 (objectType Mug_bar_1 MugType) (objectType Mug_bar_2 MugType) (objectType Pen_bar_1 PenType)
 (objectType Lettuce_bar_1 LettuceType) (objectType Knife_bar_1 KnifeType)
 (objectType DeskLamp_bar_1 DeskLampType) (objectType Sink_bar_1 SinkType)
 (pickupable Mug_bar_1) (pickupable Mug_bar_2) (pickupable Pen_bar_1) (pickupable Lettuce_bar_1)
 (pickupable Knife_bar_1)
 (isReceptacleObject Mug_bar_1) (isReceptacleObject Mug_bar_2)
 (cleanable Mug_bar_1) (cleanable Mug_bar_2) (cleanable Lettuce_bar_1) (cleanable Knife_bar_1)
 (coolable Mug_bar_1) (coolable Mug_bar_2) (coolable Lettuce_bar_1)
 (sliceable Lettuce_bar_1) (toggleable DeskLamp_bar_1)
 (isCool Lettuce_bar_1)
 (canContain DrawerType MugType) (canContain DeskType MugType) (canContain DeskType KnifeType)
 (canContain ShelfType MugType) (canContain FridgeType LettuceType) (canContain DeskType LettuceType)
 (inReceptacle Mug_bar_1 Desk_bar_1) (inReceptacle Mug_bar_2 Drawer_bar_1)
 (inReceptacle Pen_bar_1 Mug_bar_1) (inReceptacleObject Pen_bar_1 Mug_bar_1)
 (inReceptacle Lettuce_bar_1 Fridge_bar_1) (inReceptacle Knife_bar_1 Desk_bar_1)
 (inReceptacle Knife_bar_1 Drawer_bar_2)
 (inReceptacle DeskLamp_bar_1 Drawer_bar_1) (inReceptacle Sink_bar_1 Sink_bar_1_bar_SinkBasin)
 (objectAtLocation Mug_bar_1 loc_2) (objectAtLocation Mug_bar_2 loc_1) (objectAtLocation Knife_bar_1 loc_2)
 (objectAtLocation Lettuce_bar_1 loc_3) (objectAtLocation DeskLamp_bar_1 loc_1)
)
(:goal (and (exists (?r - receptacle) (exists (?o - object) (and (cleanable ?o)
 (objectType ?o MugType) (receptacleType ?r DrawerType) (isClean ?o) (inReceptacle ?o ?r)))))))
"""

GRAMMAR = '"rhs": "Your task is to: put a clean mug in drawer."'


def small_file() -> dict[str, object]:
    """Return the JSON content of the small household."""
    return {
        "pddl_domain": "",
        "grammar": GRAMMAR,
        "pddl_problem": PROBLEM,
        "solvable": True,
        "walkthrough": [],
    }


@pytest.fixture
def small() -> Game:
    return compile_game(small_file(), game_id="pick_clean_then_place_in_recep-Mug-None-Drawer-301/small")
