"""Similarity, order and rankings: exact, in tiles, the same bits for every block size."""
