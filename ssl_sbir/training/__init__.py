"""Training: what a recipe is, the one loop, checkpoints, optimisers, the monitor, and the run from settings to folder."""
