"""Who is nearest: similarities, exact rankings, where the relevant items stand, binary codes."""
