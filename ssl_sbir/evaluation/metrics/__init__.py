"""Protocols, measures, tie handling, intervals and chance."""
