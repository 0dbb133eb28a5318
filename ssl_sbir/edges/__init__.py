"""Drawings of photos by a learned edge detector, computed once: pseudo-sketches that no sketcher had to draw."""

from ssl_sbir.edges.edge_maps import EdgeMaps, edge_bands, edge_ridges, pen_lines, prepare_edges
from ssl_sbir.edges.hed import Hed, load_hed

__all__ = ["EdgeMaps", "Hed", "edge_bands", "edge_ridges", "load_hed", "pen_lines", "prepare_edges"]
