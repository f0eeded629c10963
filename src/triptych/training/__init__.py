"""Run a training: the loop, its plan, checkpoints, rollback and EMA."""
