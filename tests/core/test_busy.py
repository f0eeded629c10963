from __future__ import annotations

from pathlib import Path

import pytest

from triptych.core import busy


def table(path: Path, *ticks: int) -> Path:
    path.write_text(f"cpu  {' '.join(map(str, ticks))} 0 0\ncpu0 1 2 3 4\n")
    return path


def test_what_others_use_is_read_from_the_kernels_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stat = table(tmp_path / "stat", 100, 0, 0, 900, 0, 0, 0, 0)
    monkeypatch.setattr(busy.os, "cpu_count", lambda: 4)
    # 40 ticks later, 30 of them busy
    monkeypatch.setattr(busy.time, "sleep", lambda _: table(stat, 125, 0, 5, 910, 0, 0, 0, 0))
    cores_used = busy.busy_cores(stat, seconds=10.0)
    assert cores_used == pytest.approx(3.0, abs=0.1)


@pytest.mark.parametrize("text", ["", "cpu a b\n", "cpu 1 2\n"])
def test_a_table_that_cannot_be_read_tells_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "stat").write_text(text)
    assert busy.busy_cores(tmp_path / "stat", seconds=0.0) is None
    assert busy.busy_cores(tmp_path / "missing", seconds=0.0) is None


@pytest.mark.parametrize(
    ("threads", "used", "cores", "advised"),
    [(2, 1.0, 2, 1), (2, 1.9, 2, 1), (8, 3.1, 8, 5), (2, 0.2, 2, None), (1, 2.0, 2, None), (4, 1.0, 8, None)],
)
def test_fewer_threads_are_advised_where_others_need_cores(
    threads: int, used: float, cores: int, advised: int | None
) -> None:
    advice = busy.thread_advice(threads, used, cores)
    assert (f"--threads {advised} may be faster" in advice) if advised else advice == ""
    assert busy.thread_advice(threads, None, cores) == ""
