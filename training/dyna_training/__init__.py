"""dyna_training: environments, experience, recipes, evaluation and serving for dyna-graph."""
