"""Notes about recorded turns, for training: what an action changed, and whether a simulation came true."""
