"""Every kind of fusion by its name, as `--set fusion=` and an exported text side give it."""

from collections.abc import Callable
from typing import Any

from ssl_sbir.fusion.fusion_kinds import Fusion, GatedFusion, JointFusion, LateFusion
from ssl_sbir.fusion.modulation import ModulationFusion
from ssl_sbir.registry import Registry

fusions: Registry[Callable[..., Fusion]] = Registry("fusion", "ssl-sbir recipes show multimodal")
fusions.register("late")(LateFusion)
fusions.register("gate")(GatedFusion)
fusions.register("joint")(JointFusion)
fusions.register("modulation")(ModulationFusion)


def create_fusion(kind: str, width: int, **sizes: Any) -> Fusion:
    """A fusion with its initial weights.

    Args:
        kind: late, gate, joint or modulation.
        width: of the vectors.
        **sizes: its own, as its class takes them.

    Raises:
        ConfigError: no fusion has that name.
    """
    return fusions.get(kind)(width, **sizes)
