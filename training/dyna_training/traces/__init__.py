"""Traces of reasoning models: imported from logs, and shortened to what leads to the action.

`importing` turns logs into trajectories, `abbreviating` rebuilds the thinking of each turn (Dyna-Think, DIT)
with any `Abbreviator`; `extractive` is the one that only removes sentences.
"""
