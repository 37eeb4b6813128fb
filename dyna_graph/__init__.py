"""dyna_graph: the state machine, configuration and command line of dyna-graph."""
