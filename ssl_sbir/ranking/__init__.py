"""Similarities, exact rankings, ranks of the relevant items, and binary codes."""
