"""dyna_nodes: the nouns, the four nodes, world models, critics and the codec of dyna-graph."""
