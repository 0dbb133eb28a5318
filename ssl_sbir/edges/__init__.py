"""Drawings of photos by a learned edge detector, computed once: pseudo-sketches that no sketcher had to draw."""

from ssl_sbir.edges.hed import Hed, load_hed
from ssl_sbir.edges.maps import EdgeMaps, drawn, prepare_edges

__all__ = ["EdgeMaps", "Hed", "drawn", "load_hed", "prepare_edges"]
