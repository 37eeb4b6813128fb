"""The built-in subcommands of ``dyna``, one module each."""
