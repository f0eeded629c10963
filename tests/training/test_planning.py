"""From budgets to steps, and the choice of arithmetic."""

from __future__ import annotations

import pytest
import torch

from triptych.core import device as devices
from triptych.core.time_left import duration
from triptych.runs.options import Arithmetic, Options, Plan
from triptych.training.planning import AIM, Timing, arithmetic, make_plan

CPU = torch.device("cpu")


def timed(timeouts: list[float], pace: float = 0.1) -> object:
    def time_steps(choice: Arithmetic, patience: float) -> Timing:
        timeouts.append(patience)
        return Timing(pace if patience else None, 7)

    return time_steps


@pytest.mark.parametrize("pays", [False, True])
@pytest.mark.parametrize("network", [False, True])
def test_the_arithmetic_follows_from_device_and_model(
    pays: bool, network: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "bf16_pays", lambda device: (pays, "why"))
    assert arithmetic(Options(), CPU, network) == (Arithmetic("bf16" if pays else "fp32", network), "why")
    for precision in ("fp32", "bf16"):
        options = Options(precision=precision)  # type: ignore[arg-type]
        assert arithmetic(options, CPU, network) == (Arithmetic(precision, network), "precision as asked for")


@pytest.mark.parametrize(
    ("tiles", "products", "vendor", "limit", "pays", "why"),
    [
        (True, True, "GenuineIntel", "", True, "AMX"),
        (True, True, "GenuineIntel", "AVX512_CORE_AMX", True, "AMX"),
        (True, True, "GenuineIntel", "avx512_core_bf16", False, "no faster"),
        (False, True, "GenuineIntel", "", False, "no faster"),
        (False, True, "AuthenticAMD", "", True, "twice"),
        (False, True, "AuthenticAMD", "AVX512_CORE", False, "no faster"),
        (False, False, "AuthenticAMD", "", False, "no faster"),
    ],
)
def test_where_bf16_pays(
    tiles: bool,
    products: bool,
    vendor: str,
    limit: str,
    pays: bool,
    why: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: tiles)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: products)
    monkeypatch.setattr(devices, "vendor", lambda: vendor)
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", limit)
    faster, reason = devices.bf16_pays(CPU)
    assert faster is pays and why in reason
    assert (
        devices.instructions().endswith(f", ONEDNN_MAX_CPU_ISA={limit}" if limit else "AVX512") or not limit
    )


def test_minutes_are_timed_and_the_steps_they_came_to_are_kept() -> None:
    timeouts: list[float] = []
    plan, timing = make_plan(Options(precision="fp32", minutes=1), 100, timed(timeouts))  # type: ignore[arg-type]
    assert timing == Timing(0.1, 7) and timeouts == [1.2]
    assert plan.steps == int(60 * AIM / 0.1) and plan.threads == torch.get_num_threads()
    advice = "1 minute came to 581 steps: to repeat this run exactly, give --steps 581 instead of --minutes"
    assert plan.how_to_repeat(581) == advice
    assert plan.how_to_repeat(9) == (
        "the budget of 1 minute ended at step 9 of 581 planned: --steps 581 trains all of them"
    )
    assert plan.words(64, 0.1).startswith("about 1 minute: 581 steps of 64 images on cpu, 1 thread, fp32 (")


@pytest.mark.parametrize(
    ("budget", "patience"),
    [
        ({"steps": 7}, 0.0),
        ({"images": 64}, 0.0),
        ({"epochs": 1}, 0.0),
        ({"steps": 5000}, 0.5),
        ({"flops": 70}, 0.5),
    ],
)
def test_the_clock_decides_nothing_but_minutes(budget: dict[str, float], patience: float) -> None:
    plans = []
    for pace in (1e-3, 10.0):
        timeouts: list[float] = []
        options = Options(device="cpu", **budget)  # type: ignore[arg-type]
        plans.append(make_plan(options, 100, timed(timeouts, pace))[0])  # type: ignore[arg-type]
        assert timeouts == [patience]
    assert plans[0] == plans[1] and plans[0].how_to_repeat(plans[0].steps) == ""
    summary = plans[0].words(1, None)
    assert summary.startswith(f"{plans[0].steps:,} step") and "about" not in summary


def test_a_plan_of_an_older_version_is_read() -> None:
    plan = make_plan(Options(precision="fp32", steps=1), 9, timed([]))[0].model_dump()  # type: ignore[arg-type]
    del plan["precision_reason"]
    assert Plan.model_validate(plan).words(2, None).endswith("1 thread, fp32")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(3, "a few seconds"), (40, "under a minute"), (65, "about 1 minute"), (300, "about 5 minutes"),
     (9000, "about 2.5 hours")],
)  # fmt: skip
def test_readable_durations(seconds: float, words: str) -> None:
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("budget", "steps"),
    [({"steps": 7}, 7), ({"images": 640}, 10), ({"epochs": 2}, 20), ({"images": 1}, 1), ({"flops": 70}, 10)],
)
def test_budgets_become_steps(budget: dict[str, float], steps: int) -> None:
    options = Options(device="cpu", batch=64, **budget)  # type: ignore[arg-type]
    plan, _ = make_plan(options, 640, timed([]))  # type: ignore[arg-type]
    assert plan.steps == steps and (plan.limit_seconds is None)
