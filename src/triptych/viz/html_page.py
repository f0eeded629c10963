"""Self-contained HTML pages: one template environment, one style sheet, no network."""

from __future__ import annotations

from importlib import resources
from typing import Any

from triptych.viz.svg import short


def render(package: str, template: str, **values: Any) -> str:
    """Fill a template; a value that it names and does not get is an error.

    Args:
        package: The package that the template lies in: "report" for triptych/report.
        template: The template's file name.
        **values: What it shows, among it `title`. `css`, the style sheet of all pages, is added.

    Returns:
        The page.
    """
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=ChoiceLoader([PackageLoader("triptych", name) for name in (package, "viz")]),  # viz/head.html
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters["short"] = lambda value: "not measured" if value is None else short(float(value))
    css = (resources.files("triptych.viz") / "style.css").read_text(encoding="utf-8")
    return environment.get_template(template).render(css=css, **values)
