"""Pages from templates and plain facts: everything is escaped, nothing is loaded, a missing fact is an error."""

import dataclasses
import json
import math
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from ssl_sbir.errors import SslSbirError
from ssl_sbir.files import write_atomic

DASH = "–"
# Characters that could end a <script> element or a line of JavaScript; JSON parsers decode the escapes.
_SCRIPT_ESCAPES = {ord(sign): f"\\u{ord(sign):04x}" for sign in "<>&\u2028\u2029"}


def render_template(template: str, facts: Mapping[str, Any], templates: Path | None = None) -> str:
    """The text of a page.

    Args:
        template: a file name, e.g. `explanation.html.j2`.
        facts: the names that the template may use; plain values and dataclasses.
        templates: the user's own folder, searched first. A template in it may extend the packaged one as
            `package/<file>`.

    Raises:
        SslSbirError: the template is missing, can't be parsed, or uses a missing fact.
    """
    try:
        return _jinja_environment(templates).get_template(template).render(facts)
    except jinja2.TemplateNotFound as error:
        raise SslSbirError(f"template {error.name}: not found", _template_folder_hint(templates)) from error
    except jinja2.TemplateSyntaxError as error:
        raise SslSbirError(f"template {error.name}, line {error.lineno}: {error.message}") from error
    except jinja2.UndefinedError as error:
        raise SslSbirError(
            f"template {template}: {error.message}", "Correct the name in the template."
        ) from error


def write_html_page(path: Path, html: str) -> Path:
    """Writes a page, whole or not at all, and returns its path."""
    write_atomic(path, html)
    return path


def json_text(value: Any, indent: int | None = None) -> str:
    """JSON of plain values, dataclasses, paths and arrays; NaN and ±∞ become null."""
    return json.dumps(to_plain_json(value), ensure_ascii=False, indent=indent, allow_nan=False)


def json_blob(value: Any) -> Markup:
    """JSON that is safe inside `<script type="application/json">`, whatever its strings contain."""
    return Markup(json_text(value).translate(_SCRIPT_ESCAPES))


def format_decimals(value: float | None, digits: int = 3) -> str:
    """A number with fixed decimals and a true minus sign; a dash for None and NaN."""
    return DASH if value is None or math.isnan(value) else f"{value:.{digits}f}".replace("-", "−")


def format_percent(value: float | None, digits: int = 0) -> str:
    """A share (0..1) as a percentage; a dash for None and NaN."""
    return DASH if value is None or math.isnan(value) else format_decimals(value * 100, digits) + " %"


def to_plain_json(value: Any) -> Any:
    """The value in JSON's types: dataclasses as objects, arrays as lists, NaN and ±∞ as None."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_plain_json(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): to_plain_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain_json(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if hasattr(value, "tolist"):
        return to_plain_json(value.tolist())
    return str(value) if isinstance(value, Path) else value


def _jinja_environment(templates: Path | None) -> jinja2.Environment:
    package = jinja2.FunctionLoader(_packaged_template)
    own: list[jinja2.BaseLoader] = [jinja2.FileSystemLoader(templates)] if templates else []
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader([*own, package, jinja2.PrefixLoader({"package": package})]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"json_blob": json_blob, "json_text": json_text}
    environment.filters |= {"decimals": format_decimals, "percent": format_percent}
    return environment


def _packaged_template(name: str) -> str | None:
    template = files("ssl_sbir.reports").joinpath("templates", name)
    return template.read_text(encoding="utf-8") if template.is_file() else None


def _template_folder_hint(templates: Path | None) -> str:
    return f"Look in {templates}, or leave out the folder of templates." if templates else ""
