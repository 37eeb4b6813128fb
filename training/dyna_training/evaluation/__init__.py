"""Evaluation: how well a world model predicts, and what it is worth to an agent."""
