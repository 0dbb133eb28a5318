"""Settings from layers (defaults < preset < file < --set), each value with its origin; errors name the key."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from ssl_sbir.errors import ConfigError
from ssl_sbir.files import file_sha256, sha256_of
from ssl_sbir.registry import did_you_mean

SettingsLayer = tuple[str, Mapping[str, Any]]


class Config(BaseModel):
    """Immutable settings that refuse unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


ConfigT = TypeVar("ConfigT", bound=Config)


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping that a YAML file holds.

    Raises:
        ConfigError: the file is missing, isn't YAML, or doesn't hold a mapping.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}", "Name an existing YAML file.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{path} is not YAML: {' '.join(str(error).split())}", "Correct that line."
        ) from error
    if content is not None and not isinstance(content, dict):
        raise ConfigError(f"{path} holds a {type(content).__name__}", "Write 'key: value' lines.")
    return content or {}


def parse_assignments(assignments: Sequence[str]) -> dict[str, Any]:
    """Nested settings from texts like `optim.lr=1e-4`; values are read as YAML.

    Raises:
        ConfigError: a text isn't of the form key=value.
    """
    tree: dict[str, Any] = {}
    for text in assignments:
        key, equals, value = text.partition("=")
        if not equals or not all(key.split(".")):
            raise ConfigError(f"--set {text}: not of the form key=value", "For example --set optim.lr=1e-4")
        try:
            _set_nested(tree, key.split("."), yaml.safe_load(value))
        except yaml.YAMLError:
            raise ConfigError(f"--set {text}: the value can't be read", "Quote it.") from None
    return tree


def _set_nested(tree: dict[str, Any], path: Sequence[str], value: Any) -> None:
    for name in path[:-1]:
        if not isinstance(tree.get(name), dict):
            tree[name] = {}
        tree = tree[name]
    tree[path[-1]] = value


def resolve_config(
    kind: type[ConfigT],
    layers: Sequence[SettingsLayer],
    *,
    list_command: str = "",
    renamed: Mapping[str, str] | None = None,
) -> tuple[ConfigT, dict[str, str]]:
    """A configuration of that kind, and where each of its values came from.

    Args:
        kind: the class; its defaults are the lowest layer.
        layers: (origin, nested settings) pairs; later ones win.
        list_command: the command that lists the keys, for the error about an unknown one.
        renamed: dotted keys of earlier versions, each with its present name, for the error about such a key.

    Returns:
        The configuration, and a map from dotted key to origin.

    Raises:
        ConfigError: a key is unknown (names the renamed or the closest one) or a value has the wrong type or range.
    """
    tree = kind().model_dump()
    origins = dict.fromkeys((key for key, _ in flatten_settings(tree)), "default")
    for origin, settings in layers:
        _merge_settings(tree, settings)
        origins.update((key, origin) for key, _ in flatten_settings(settings))
    try:
        return kind.model_validate(tree), origins
    except ValidationError as error:
        raise _to_config_error(error, kind, origins, list_command, renamed or {}) from None


def flatten_settings(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted key, value) pairs of nested settings."""
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from flatten_settings(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def hash_named_files(tree: Mapping[str, Any]) -> dict[str, str]:
    """The sha256 of the files that settings name after a colon ("conceptnet:FILE"), by setting.

    A run's result depends on the files' contents, not on their names. A path that is no file is left out.
    """
    hashes = {}
    for key, value in flatten_settings(tree):
        parts = value.rpartition(":")[2].split("+") if isinstance(value, str) and ":" in value else []
        files = [Path(part).expanduser() for part in parts]
        if files and all(file.is_file() for file in files):
            hashes[key] = (
                sha256_of(*(file_sha256(file) for file in files)) if files[1:] else file_sha256(files[0])
            )
    return hashes


def _merge_settings(tree: dict[str, Any], settings: Mapping[str, Any]) -> None:
    for key, value in settings.items():
        if isinstance(value, Mapping) and isinstance(tree.get(key), dict):
            _merge_settings(tree[key], value)
        else:
            tree[key] = value


def _to_config_error(
    error: ValidationError,
    kind: type[Config],
    origins: Mapping[str, str],
    list_command: str,
    renamed: Mapping[str, str],
) -> ConfigError:
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    origin = f"It comes from {origins.get(key, 'a layer')}."
    if first["type"] != "extra_forbidden":
        return ConfigError(f"{key} = {first['input']!r}: {first['msg']}", origin)
    hint = f"{origin} All keys: {list_command}" if list_command else origin
    if key in renamed:
        return ConfigError(f"'{key}' is now '{renamed[key]}'", hint)
    known = [name for name, _ in flatten_settings(kind().model_dump())]
    return ConfigError(f"unknown key '{key}'.{_closest_key(key, known)}", hint)


def _closest_key(key: str, known: Sequence[str]) -> str:
    same_leaf = [name for name in known if name.split(".")[-1] == key.split(".")[-1]]
    return did_you_mean(key, known) or (f" Did you mean '{same_leaf[0]}'?" if same_leaf else "")


def to_yaml(config: Config, origins: Mapping[str, str] | None = None) -> str:
    """The configuration as YAML; with `origins`, each value is followed by a comment with its origin."""
    return "\n".join(_yaml_lines(config.model_dump(mode="json"), origins or {}, "", 0)) + "\n"


def _yaml_lines(tree: Mapping[str, Any], origins: Mapping[str, str], above: str, depth: int) -> Iterator[str]:
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield f"{'  ' * depth}{key}:"
            yield from _yaml_lines(value, origins, f"{above}{key}.", depth + 1)
        else:
            readable = str(value).isprintable()  # others, such as U+0085, must be escaped to come back
            text = yaml.safe_dump({key: value}, default_flow_style=True, width=10**6, allow_unicode=readable)
            origin = origins.get(above + key)
            yield f"{'  ' * depth}{text.strip()[1:-1]}" + (f"  # {origin}" if origin else "")
