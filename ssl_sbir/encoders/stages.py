"""The stages of any encoder, from input to output, which can be frozen or trained with a smaller step."""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from ssl_sbir.encoders.composed import TwoTowerEncoder
from ssl_sbir.encoders.encoder import Encoder


@dataclass(frozen=True)
class EncoderStage:
    """Consecutive parts of an encoder.

    Attributes:
        name: `stem`, a repeated block's name such as `blocks.0` or `layer1`, `head`, or that of a part added to
            the backbone, such as `linear`.
        parts: its modules.
        own_parameters: parameters that belong to no part (a class token, position embeddings).
    """

    name: str
    parts: tuple[nn.Module, ...]
    own_parameters: tuple[nn.Parameter, ...] = ()

    def parameters(self) -> Iterator[nn.Parameter]:
        """Every weight of the stage."""
        for part in self.parts:
            yield from part.parameters()
        yield from self.own_parameters


def encoder_stages(encoder: Encoder) -> list[EncoderStage]:
    """The stages of an encoder, input first.

    A network's stages are its repeated blocks, what comes before them (`stem`) and after (`head`); a plain sequence
    of convolutions (VGG) is split at its poolings. An encoder around another one has that one's stages, then its own
    parts. The stages of two towers are merged: freezing the first stage of one freezes that of both.
    """
    if isinstance(encoder, TwoTowerEncoder):
        return _merge_tower_stages(encoder_stages(encoder.sketch), encoder_stages(encoder.photo))
    children = _children_with_parameters(encoder)
    inner = next((child for _, child in children if isinstance(child, Encoder)), None)
    if inner is not None:
        own = [EncoderStage(name, (child,)) for name, child in children if child is not inner]
        return [*encoder_stages(inner), *own]
    if len(children) == 1:
        return _network_stages(children[0][1])
    return _network_stages(encoder)


def _merge_tower_stages(left: list[EncoderStage], right: list[EncoderStage]) -> list[EncoderStage]:
    both = {stage.name: stage for stage in left}
    for stage in right:
        twin = both.get(stage.name, EncoderStage(stage.name, ()))
        both[stage.name] = EncoderStage(
            stage.name, twin.parts + stage.parts, twin.own_parameters + stage.own_parameters
        )
    return list(both.values())


def _network_stages(module: nn.Module) -> list[EncoderStage]:
    """The stages of another library's network, whose blocks are one or more levels down."""
    children = _children_with_parameters(module)
    loose = tuple(module.parameters(recurse=False))
    rows = [(name, child) for name, child in children if _is_block_sequence(child)]
    if len(rows) > 1:  # layer1, layer2, ...: each sequence is a stage
        return _stages_around_blocks(children, loose, [(name, child) for name, child in rows])
    if rows:
        blocks = [(f"{rows[0][0]}.{name}", block) for name, block in _children_with_parameters(rows[0][1])]
        return _stages_around_blocks(children, loose, blocks, rows[0][1])
    poolings = [index for index, part in enumerate(module.children()) if isinstance(part, nn.MaxPool2d)]
    if len(poolings) > 1:
        return _split_at_poolings(module, poolings)
    if not children:
        return [EncoderStage("head", (), loose)] if loose else []
    name, largest = max(children, key=lambda child: sum(p.numel() for p in child[1].parameters()))
    if not _children_with_parameters(largest):
        return [EncoderStage("stem", tuple(child for _, child in children), loose)]
    before, after = _children_before_and_after(children, [name])
    inside = _network_stages(largest)
    first = EncoderStage("stem", (*before, *inside[0].parts), (*loose, *inside[0].own_parameters))
    if inside[0].name == "stem":
        inside = [first, *inside[1:]]
    elif before or loose:
        inside = [EncoderStage("stem", tuple(before), loose), *inside]
    if after and inside[-1].name == "head":
        last = inside.pop()
        after = [*last.parts, *after]
    return [*inside, EncoderStage("head", tuple(after))] if after else inside


def _stages_around_blocks(
    children: list[tuple[str, nn.Module]],
    loose: tuple[nn.Parameter, ...],
    blocks: list[tuple[str, nn.Module]],
    row: nn.Module | None = None,
) -> list[EncoderStage]:
    inside = [name for name, child in children if child is row or any(child is block for _, block in blocks)]
    before, after = _children_before_and_after(children, inside)
    stem = [EncoderStage("stem", tuple(before), loose)] if before or loose else []
    head = [EncoderStage("head", tuple(after))] if after else []
    return [*stem, *(EncoderStage(name, (block,)) for name, block in blocks), *head]


def _children_before_and_after(
    children: list[tuple[str, nn.Module]], inside: list[str]
) -> tuple[list[nn.Module], list[nn.Module]]:
    """The children before the first named one, and those after it that aren't named."""
    names = [name for name, _ in children]
    first = names.index(inside[0])
    return (
        [child for _, child in children[:first]],
        [child for name, child in children[first:] if name not in inside],
    )


def _split_at_poolings(row: nn.Module, poolings: list[int]) -> list[EncoderStage]:
    layers, stages = list(row.children()), list[EncoderStage]()
    for start, end in zip([0, *(index + 1 for index in poolings)], [*poolings, len(layers)], strict=True):
        parts = tuple(layer for layer in layers[start:end] if any(True for _ in layer.parameters()))
        if parts:
            stages.append(EncoderStage(f"convolutions.{len(stages)}", parts))
    return stages


def _children_with_parameters(module: nn.Module) -> list[tuple[str, nn.Module]]:
    """The children that have parameters, in order."""
    return [(name, child) for name, child in module.named_children() if any(True for _ in child.parameters())]


def _is_block_sequence(module: nn.Module) -> bool:
    """Whether a module is a sequence of blocks, not of plain layers."""
    is_sequence = isinstance(module, nn.Sequential | nn.ModuleList)
    return is_sequence and any(_children_with_parameters(part) for part in module.children())
