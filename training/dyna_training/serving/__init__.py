"""Serving base models and adapters of a configuration with vLLM: what `dyna serve` does."""
