"""Recipes: each reads from top to bottom like a lab protocol, and is run by ``dyna train``."""
