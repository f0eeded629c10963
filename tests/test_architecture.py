"""Rules of the code that import-linter (pyproject.toml) does not check: one loop, one file for each thing
that must stay in one, small files.
"""

from __future__ import annotations

import ast
import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from triptych.models.registry import NOT_MODELS

SRC = Path(__file__).parent.parent / "src" / "triptych"
FILES = sorted(SRC.rglob("*.py"))


def imports_of(path: Path) -> set[str]:
    """Every module of Triptych that a file names in an import, wherever in the file."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "triptych":
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names if alias.name.split(".")[0] == "triptych"}
    return names


def test_nothing_stands_beside_the_packages() -> None:
    assert {p.name for p in SRC.glob("*.py")} == {"__init__.py", "__main__.py", "_version.py"}


def test_no_model_imports_another_but_shared_bases() -> None:
    models = [p for p in (SRC / "models").glob("*.py") if p.stem not in ("__init__", *NOT_MODELS)]
    assert len(models) >= 5
    for path in models:
        for name in imports_of(path):
            if name.startswith("triptych.models."):
                assert name.split(".")[2].startswith("_"), f"{path.name} imports {name}"


def test_packages_do_not_hide_their_modules() -> None:
    """A name bound in a package's __init__ that is also a file of it would stand in for the file."""
    for init in SRC.rglob("__init__.py"):
        files = {p.stem for p in init.parent.glob("*.py")}
        for node in ast.parse(init.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ImportFrom):
                package = "triptych." + ".".join(init.parent.relative_to(SRC).parts)
                bound = (
                    {a.asname or a.name for a in node.names} if node.module != package.rstrip(".") else set()
                )
                assert not bound & files, f"{init}: {sorted(bound & files)}"
            elif isinstance(node, ast.FunctionDef | ast.ClassDef):
                assert node.name not in files, f"{init}: {node.name}"


def files_with(text: str) -> set[str]:
    return {str(p.relative_to(SRC)) for p in FILES if text in p.read_text(encoding="utf-8")}


def test_there_is_one_training_loop() -> None:
    # the networks that measure, and the inversion of an image, are no training of a model
    assert files_with(".backward(") == {
        "training/trainer.py",
        "evaluation/classifier.py",
        "metrics/extractors/self_supervised/training.py",
        "evaluation/two_sample.py",
        "core/generative_model.py",
    }


def test_a_step_is_read_in_25_lines() -> None:
    tree = ast.parse((SRC / "training/trainer.py").read_text(encoding="utf-8"))
    steps = next(n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and n.name == "steps")
    loop = next(n for n in steps.body if isinstance(n, ast.For))
    assert loop.end_lineno is not None
    assert loop.end_lineno - loop.lineno + 1 <= 25


def test_the_device_is_named_in_one_file() -> None:
    assert files_with('"cuda') == {"core/device.py"}


def test_gray_levels_are_scaled_in_one_file() -> None:
    assert files_with("127.5") == {"core/images.py"}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SRC)))
def test_files_stay_small(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 420


def test_nothing_unpickles() -> None:
    """But for one published file of known SHA-256, and that only for tensors."""
    assert files_with("torch.load(") == {"metrics/extractors/inception_weights.py"}
    text = (SRC / "metrics" / "extractors" / "inception_weights.py").read_text(encoding="utf-8")
    assert text.count("torch.load(") == text.count("weights_only=True)") == 1
    assert files_with("allow_pickle=True") == set()
    assert files_with("import pickle") == set()


def public_functions() -> Iterator[tuple[str, Any, type | None]]:
    """Name, function and class (None outside classes) of every public function defined in the packages."""
    for path in FILES:
        name = ".".join(path.relative_to(SRC.parent).with_suffix("").parts)
        if any(part.startswith("_") for part in name.split(".")[1:]):
            continue
        module = importlib.import_module(name)
        for key, value in vars(module).items():
            if key.startswith("_") or getattr(value, "__module__", None) != name:
                continue
            if inspect.isfunction(value):
                yield f"{name}.{key}", value, None
            elif inspect.isclass(value):
                for method, member in vars(value).items():
                    function = getattr(member, "__func__", member)
                    if not method.startswith("_") and inspect.isfunction(function):
                        yield f"{name}.{key}.{method}", function, value


def test_functions_of_two_arguments_or_more_document_them() -> None:
    """A method that overrides a documented one may say only what differs."""
    undocumented = []
    for name, function, owner in public_functions():
        function = inspect.unwrap(function)
        arguments = [a for a in inspect.signature(function).parameters if a not in ("self", "cls")]
        inherited = owner is not None and any(hasattr(base, function.__name__) for base in owner.__mro__[1:])
        if len(arguments) >= 2 and not inherited and "Args:" not in (function.__doc__ or ""):
            undocumented.append(name)
    assert not undocumented
