"""The stages of any encoder, from its input to its output: what can be frozen or stepped more slowly."""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from ssl_sbir.encoders.encoder import Encoder
from ssl_sbir.encoders.heads import Towers


@dataclass(frozen=True)
class Stage:
    """Consecutive parts of an encoder.

    Attributes:
        name: `stem`, a repeated block's name such as `blocks.0` or `layer1`, `head`, or that of a part put on
            the backbone, such as `linear`.
        parts: its modules.
        loose: parameters of its own that lie in no part (a class token, position embeddings).
    """

    name: str
    parts: tuple[nn.Module, ...]
    loose: tuple[nn.Parameter, ...] = ()

    def parameters(self) -> Iterator[nn.Parameter]:
        """Every weight of the stage."""
        for part in self.parts:
            yield from part.parameters()
        yield from self.loose


def stages(encoder: Encoder) -> list[Stage]:
    """The stages of an encoder, input first.

    A network's stages are its repeated blocks, what comes before them (`stem`) and after (`head`); a plain row of
    convolutions (VGG) is divided at its poolings. An encoder around another one has that one's stages, then its
    own parts. The stages of two towers stand side by side: freezing the first of one freezes that of both.
    """
    if isinstance(encoder, Towers):
        return _side_by_side(stages(encoder.sketch), stages(encoder.photo))
    children = _weighted(encoder)
    inner = next((child for _, child in children if isinstance(child, Encoder)), None)
    if inner is not None:
        own = [Stage(name, (child,)) for name, child in children if child is not inner]
        return [*stages(inner), *own]
    if len(children) == 1:
        return _network(children[0][1])
    return _network(encoder)


def _side_by_side(left: list[Stage], right: list[Stage]) -> list[Stage]:
    both = {stage.name: stage for stage in left}
    for stage in right:
        twin = both.get(stage.name, Stage(stage.name, ()))
        both[stage.name] = Stage(stage.name, twin.parts + stage.parts, twin.loose + stage.loose)
    return list(both.values())


def _network(module: nn.Module) -> list[Stage]:
    """The stages of a network that is no encoder of ours; blocks lie one or more levels down."""
    children = _weighted(module)
    loose = tuple(module.parameters(recurse=False))
    rows = [(name, child) for name, child in children if _is_row(child)]
    if len(rows) > 1:  # layer1, layer2, ...: each row is a stage
        return _around(children, loose, [(name, child) for name, child in rows])
    if rows:
        blocks = [(f"{rows[0][0]}.{name}", block) for name, block in _weighted(rows[0][1])]
        return _around(children, loose, blocks, rows[0][1])
    poolings = [at for at, part in enumerate(module.children()) if isinstance(part, nn.MaxPool2d)]
    if len(poolings) > 1:
        return _divided(module, poolings)
    if not children:
        return [Stage("head", (), loose)] if loose else []
    name, largest = max(children, key=lambda child: sum(p.numel() for p in child[1].parameters()))
    if not _weighted(largest):
        return [Stage("stem", tuple(child for _, child in children), loose)]
    before, after = _sides(children, [name])
    inside = _network(largest)
    first = Stage("stem", (*before, *inside[0].parts), (*loose, *inside[0].loose))
    if inside[0].name == "stem":
        inside = [first, *inside[1:]]
    elif before or loose:
        inside = [Stage("stem", tuple(before), loose), *inside]
    if after and inside[-1].name == "head":
        last = inside.pop()
        after = [*last.parts, *after]
    return [*inside, Stage("head", tuple(after))] if after else inside


def _around(
    children: list[tuple[str, nn.Module]],
    loose: tuple[nn.Parameter, ...],
    blocks: list[tuple[str, nn.Module]],
    row: nn.Module | None = None,
) -> list[Stage]:
    inside = [name for name, child in children if child is row or any(child is block for _, block in blocks)]
    before, after = _sides(children, inside)
    stem = [Stage("stem", tuple(before), loose)] if before or loose else []
    head = [Stage("head", tuple(after))] if after else []
    return [*stem, *(Stage(name, (block,)) for name, block in blocks), *head]


def _sides(
    children: list[tuple[str, nn.Module]], inside: list[str]
) -> tuple[list[nn.Module], list[nn.Module]]:
    """The children before the first named one, and those after it that aren't named."""
    names = [name for name, _ in children]
    first = names.index(inside[0])
    return (
        [child for _, child in children[:first]],
        [child for name, child in children[first:] if name not in inside],
    )


def _divided(row: nn.Module, poolings: list[int]) -> list[Stage]:
    layers, found = list(row.children()), list[Stage]()
    for start, end in zip([0, *(at + 1 for at in poolings)], [*poolings, len(layers)], strict=True):
        parts = tuple(layer for layer in layers[start:end] if any(True for _ in layer.parameters()))
        if parts:
            found.append(Stage(f"convolutions.{len(found)}", parts))
    return found


def _weighted(module: nn.Module) -> list[tuple[str, nn.Module]]:
    """The children that have parameters, in order."""
    return [(name, child) for name, child in module.named_children() if any(True for _ in child.parameters())]


def _is_row(module: nn.Module) -> bool:
    """Whether a module is a row of blocks, not of bare layers."""
    row = isinstance(module, nn.Sequential | nn.ModuleList)
    return row and any(_weighted(part) for part in module.children())
