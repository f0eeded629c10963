"""A hook of mkdocs: one API page per package, from its docstrings; and the examples, as files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
SRC = ROOT / "src"


def modules(package: Path) -> list[str]:
    """Dotted names of a package's public modules, the shallow ones first."""
    files = [p for p in package.rglob("*.py") if not any(part.startswith("_") for part in p.parts[-2:])]
    names = [".".join(p.relative_to(SRC).with_suffix("").parts) for p in files]
    return sorted(names, key=lambda name: (name.count("."), name))


def on_files(files: Files, config: Any) -> Files:
    """Add `api.md`, the list of packages, `api/PACKAGE.md` for each, and the files of `examples/`."""
    packages = sorted(p for p in (SRC / "triptych").iterdir() if (p / "__init__.py").is_file())
    rows = []
    for package in packages:
        summary = first_line(package / "__init__.py")
        rows.append(f"| [`{package.name}`](api/{package.name}.md) | {summary} |")
        body = "\n\n".join(f"::: {name}" for name in modules(package))
        page = f"---\nsearch:\n  boost: 0.5\n---\n# {package.name}\n\n{summary}\n\n{body}\n"
        files.append(File.generated(config, f"api/{package.name}.md", content=page))
    table = "\n".join(["# API reference", "", "| package | purpose |", "|---|---|", *rows, ""])
    files.append(File.generated(config, "api.md", content=table))
    for example in sorted((ROOT / "examples").iterdir()):
        if example.suffix in (".py", ".ipynb"):
            files.append(File.generated(config, f"examples/{example.name}", abs_src_path=str(example)))
    return files


def first_line(path: Path) -> str:
    """The summary line of a module's docstring."""
    import ast

    return (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").split("\n")[0]
