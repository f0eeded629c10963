"""The recipes of docs/adding: each is followed, as it stands."""

from __future__ import annotations

import importlib.util
import re
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import torch

from triptych import cli
from triptych.core.errors import UsageError
from triptych.training.runner import train

DOCS = Path(__file__).parent.parent / "docs" / "adding"


def programs(page: str) -> list[str]:
    return re.findall(
        r"^```python\n(.*?)^```$", (DOCS / page).read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )


def module_of(program: str, name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """The program as a module, from a file of its own."""
    path = folder / f"{name.rsplit('.', 1)[-1]}.py"
    path.write_text(program, encoding="utf-8")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    return module


def entry_of(line: str, **names: Any) -> tuple[str, Any]:
    """The key and value of a line of a table."""
    (entry,) = eval("{" + line.strip() + "}", names).items()
    return entry


def test_a_new_verb(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    program, line = programs("verb.md")
    palette = module_of(program, "triptych.cli.palette", tmp_path, monkeypatch)
    name, verb = entry_of(line, palette=palette, verb=cli.verb)
    monkeypatch.setitem(cli.VERBS, name, verb)
    run = train("vae", "digits", steps=1, batch=4, precision="fp32", runs=tmp_path)
    capsys.readouterr()
    assert cli.main(["palette", str(run.path), "--samples", "2"]) == 0
    assert 0 <= float(capsys.readouterr().out) <= 255
    assert cli.main(["palette", str(tmp_path / "nothing")]) != 0


def test_a_new_sampler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a Gaussian the sampler must arrive where the exact solution of the equation does."""
    from triptych.core.rng import SamplerNoise
    from triptych.diffusion.denoisers import Prediction
    from triptych.diffusion.samplers import SOLVERS, trailing_times
    from triptych.diffusion.schedules import make_schedule

    program, line = programs("sampler.md")
    midpoint = module_of(program, "midpoint", tmp_path, monkeypatch).midpoint
    name, sampler = entry_of(line, midpoint=midpoint)
    monkeypatch.setitem(SOLVERS, name, sampler)
    schedule = make_schedule("cosine", 1000)
    std = 0.5  # of the data, N(0, std^2)

    def denoiser(x: torch.Tensor, t: torch.Tensor) -> Any:
        alpha, sigma = schedule.alpha[t].view(-1, 1), schedule.sigma[t].view(-1, 1)
        x0 = x * alpha * std**2 / (alpha**2 * std**2 + sigma**2)
        return Prediction(x0, (x - alpha * x0) / sigma.clamp(min=1e-8))

    noise = torch.randn(64, 1, generator=torch.Generator().manual_seed(0))
    times = trailing_times(len(schedule.alpha) - 1, 100)
    *_, last = SOLVERS["midpoint"](denoiser, schedule, noise, times, SamplerNoise(range(64), "test"))
    torch.testing.assert_close(last.x0.float(), std * noise, atol=0.02, rtol=0.02)


def test_a_new_data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from triptych.data import load

    (program,) = programs("dataset.md")
    stripes = module_of(program, "triptych.data.datasets.stripes", tmp_path, monkeypatch)
    monkeypatch.setattr(load, "SOURCES", (*load.SOURCES, stripes.SOURCE))
    dataset = load.load("stripes")
    assert dataset.spec.size == 16 and dataset.class_names == ("horizontal", "vertical")
    assert len(dataset.train) > len(dataset.test) > 100
    run = train("vae", "stripes", steps=1, batch=4, precision="fp32", runs=tmp_path)
    assert run.card.data.source == "stripes"
    with pytest.raises(UsageError, match="stripes"):
        load.load("stripe")


def test_a_new_metric(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from triptych.metrics import suite

    (program,) = programs("metric.md")
    module = module_of(program, "triptych.metrics.mean_distance", tmp_path, monkeypatch)
    monkeypatch.setattr(suite, "METRICS", (*suite.METRICS, module.METRIC))
    paths = []
    for beta in (1.0, 4.0):
        run = train("vae", "digits", steps=2, batch=4, precision="fp32", beta=beta, runs=tmp_path)
        words = ["evaluate", str(run.path), "--samples", "40", "--quick", "--features", "random-conv"]
        assert cli.main(words) == 0
        assert "mean distance" in capsys.readouterr().out
        paths.append(str(run.path))
    assert cli.main(["compare", *paths, "--metric", "mean distance"]) == 0
    assert "mean distance" in capsys.readouterr().out
