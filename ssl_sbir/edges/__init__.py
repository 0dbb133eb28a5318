"""Pseudo-sketches: drawings of photos by an edge detector, computed once."""

from typing import TYPE_CHECKING

from ssl_sbir.lazy import lazy_exports

if TYPE_CHECKING:
    from ssl_sbir.edges.edge_maps import EdgeMaps as EdgeMaps
    from ssl_sbir.edges.edge_maps import edge_bands as edge_bands
    from ssl_sbir.edges.edge_maps import edge_ridges as edge_ridges
    from ssl_sbir.edges.edge_maps import pen_lines as pen_lines
    from ssl_sbir.edges.edge_maps import prepare_edges as prepare_edges
    from ssl_sbir.edges.hed import Hed as Hed
    from ssl_sbir.edges.hed import load_hed as load_hed

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "edge_maps": (
            "EdgeMaps",
            "edge_bands",
            "edge_ridges",
            "pen_lines",
            "prepare_edges",
        ),
        "hed": (
            "Hed",
            "load_hed",
        ),
    },
)
