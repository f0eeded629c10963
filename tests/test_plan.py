"""From budgets to steps, and the choice of arithmetic."""

from __future__ import annotations

import pytest
import torch

from triptych.core import device as devices
from triptych.plan import AIM, Arithmetic, Options, Timing, arithmetics, make_plan

CPU = torch.device("cpu")


def timed(asked: list[Arithmetic], fastest: Arithmetic | None = None) -> object:
    def time_steps(choice: Arithmetic, _: float) -> Timing:
        asked.append(choice)
        return Timing(0.1 if choice == fastest else 0.2, 7)

    return time_steps


@pytest.mark.parametrize("native", [False, True])
def test_the_fastest_arithmetic_is_chosen_and_all_timings_kept(
    native: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "bf16_is_native", lambda device: native)
    candidates = arithmetics(Options(device="cpu"), CPU)
    assert (Arithmetic("bf16", False) in candidates) == native
    for best in candidates:
        asked: list[Arithmetic] = []
        plan, flops = make_plan(Options(device="cpu", minutes=1), 100, timed(asked, best))  # type: ignore[arg-type]
        assert asked == candidates and flops == 7
        assert (plan.precision, plan.channels_last) == (best.precision, best.channels_last)
        assert plan.steps == int(60 * AIM / 0.1)
        assert (
            len(plan.timed) == len(candidates) and min(plan.timed, key=plan.timed.__getitem__) == best.words()
        )


def test_a_precision_asked_for_leaves_no_choice() -> None:
    for precision in ("fp32", "bf16"):
        options = Options(device="cpu", precision=precision)  # type: ignore[arg-type]
        assert arithmetics(options, CPU) == [Arithmetic(precision, False)]


@pytest.mark.parametrize(
    ("budget", "steps"),
    [({"steps": 7}, 7), ({"images": 640}, 10), ({"epochs": 2}, 20), ({"images": 1}, 1), ({"flops": 70}, 10)],
)
def test_budgets_become_steps(budget: dict[str, float], steps: int) -> None:
    options = Options(device="cpu", batch=64, **budget)  # type: ignore[arg-type]
    plan, _ = make_plan(options, 640, timed([]))  # type: ignore[arg-type]
    assert plan.steps == steps and (plan.limit_seconds is None)
