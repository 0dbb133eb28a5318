"""Checks that stand beside an accuracy: leaks, duplicates, diversity, who decides where text and drawing meet."""
