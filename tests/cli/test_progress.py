"""What terminals of every width, logs and terminals without a cursor show of a training."""

from __future__ import annotations

import io
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from triptych.cli import progress
from triptych.cli.progress import clock, progress_bar


def at(step: int, steps: int = 300, news: str = "") -> Any:
    return SimpleNamespace(
        step=step, steps=steps, images_per_second=1234.0, losses=lambda: {"denoiser/loss": 0.123}, news=news
    )


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """A clock that the test moves."""
    time = [100.0]
    monkeypatch.setattr(progress.time, "perf_counter", lambda: time[0])
    yield time


def last_line(now: list[float], monkeypatch: pytest.MonkeyPatch, width: int, **more: Any) -> str:
    """The last line that a terminal of so many columns shows half-way."""
    screen = io.StringIO()

    def console(**_: Any) -> Console:
        return Console(file=screen, force_terminal=True, width=width, color_system=None, **more)

    monkeypatch.setattr("rich.console.Console", console)
    with progress_bar("Diffusion") as on_step:
        for step in (1, 75, 150):
            now[0] += 1
            on_step(at(step))
    return screen.getvalue()


@pytest.mark.parametrize("width", [20, 40, 60, 80, 100, 140])
def test_every_width_shows_the_step_and_the_time_left(
    now: list[float], width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = last_line(now, monkeypatch, width, _environ={"TERM": "xterm"})
    lines = [line for line in text.replace("\r", "\n").split("\n") if "150/300" in line]
    assert lines and all(len(line.split("\x1b[2K")[-1]) <= width for line in lines)
    assert ("left" in lines[-1]) if width < 60 else (":" in lines[-1])
    assert ("denoiser" in text) == (width >= 100)


def test_a_terminal_without_a_cursor_gets_lines(
    now: list[float], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    screen = last_line(now, monkeypatch, 20, _environ={"TERM": "dumb"})
    assert screen == ""
    capsys.readouterr()
    with progress_bar("Diffusion") as on_step:
        on_step(at(1))
        now[0] += 10
        on_step(at(101))
    assert capsys.readouterr().err == (
        "Diffusion: step 101 of 300, 0:20 left, 1,234 images/s, denoiser 0.123\n"
    )


def test_lines_come_every_ten_seconds_and_every_hundredth_of_long_runs(
    now: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    lines = progress.Lines("VAE")
    steps = 20_000
    for step in range(1, steps + 1):  # a second each
        lines(at(step, steps))
        now[0] += 1
    lines_printed = capsys.readouterr().err.splitlines()
    assert lines_printed[0].startswith("VAE: step 11 of 20000, 5:33:09 left, ")
    assert lines_printed[-1] == "VAE: step 20000 of 20000, 1,234 images/s, denoiser 0.123"
    assert 95 < len(lines_printed) < 115


def test_alerts_are_printed_at_once(now: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    lines = progress.Lines("VAE")
    lines(at(2, news="GAN monitor: collapsed"))
    lines(at(3, news="GAN monitor: collapsed"))
    lines(at(4))
    assert capsys.readouterr().err == "GAN monitor: collapsed\nGAN monitor: the training has recovered\n"


def test_times_are_formatted_like_a_clock() -> None:
    assert [clock(s) for s in (0, 59.6, 75, 3723)] == ["0:00", "1:00", "1:15", "1:02:03"]
