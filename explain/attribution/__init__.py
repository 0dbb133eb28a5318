"""Heat maps: every method that says which parts of an image a similarity rests on."""
