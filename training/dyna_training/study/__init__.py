"""Studies: a paper's table as a graph of stages, each resumable, run by ``dyna study``."""
