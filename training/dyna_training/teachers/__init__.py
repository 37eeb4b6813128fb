"""Teachers: who chooses, and writes the thinking that a policy imitates."""
