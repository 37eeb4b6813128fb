"""Subcommands that training adds to ``dyna``."""
