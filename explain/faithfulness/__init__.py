"""Whether heat maps can be trusted: deletion and insertion, weight randomization, stability."""
