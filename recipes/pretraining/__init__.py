"""Methods that need no label."""
