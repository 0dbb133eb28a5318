"""Methods that learn from the labels of seen classes."""
