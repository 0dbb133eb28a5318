"""Drawings of photos by a learned edge detector, computed once: pseudo-sketches that no sketcher had to draw."""

from ssl_sbir.edges.hed import Hed, load_hed
from ssl_sbir.edges.maps import EdgeMaps, bands, pen_lines, prepare_edges, ridges

__all__ = ["EdgeMaps", "Hed", "bands", "load_hed", "pen_lines", "prepare_edges", "ridges"]
