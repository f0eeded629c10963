from __future__ import annotations

import pytest
import torch
from torch import nn

from triptych.training.ema import PowerFunctionEMA, gamma_from_width


@pytest.mark.parametrize(("width", "gamma"), [(0.05, 16.97), (0.10, 6.94)])
def test_powers_are_the_papers(width: float, gamma: float) -> None:
    assert gamma_from_width(width) == pytest.approx(gamma, abs=0.005)  # Karras et al. 2024, section 3.1


def test_the_ema_has_the_given_relative_width() -> None:
    """The standard deviation of the weights' ages, as a share of the run, is `width`."""
    module, steps, width = nn.Linear(1, 1, bias=False), 2000, 0.1
    shares = torch.zeros(steps, dtype=torch.float64)
    ema = PowerFunctionEMA(module, ("weight",), width)
    for step in range(1, steps + 1):
        beta = (1 - 1 / step) ** (ema.gamma + 1)
        shares *= beta
        shares[step - 1] += 1 - beta
    times = torch.arange(1, steps + 1, dtype=torch.float64) / steps
    mean = (shares * times).sum()
    assert shares.sum() == pytest.approx(1)
    assert ((shares * (times - mean) ** 2).sum() ** 0.5).item() == pytest.approx(width, rel=0.01)


def test_the_start_leaves_no_trace_and_integers_are_copied() -> None:
    module = nn.BatchNorm2d(2)
    ema = PowerFunctionEMA(module, ("weight", "running_mean", "num_batches_tracked"), 0.1)
    with torch.no_grad():
        module.weight.fill_(5)
    module.running_mean.fill_(3)  # type: ignore[union-attr,operator]
    module.num_batches_tracked.fill_(7)  # type: ignore[union-attr,operator]
    ema.update(1)
    assert ema.tensors["weight"].tolist() == [5, 5] and ema.tensors["running_mean"].tolist() == [3, 3]
    assert ema.tensors["num_batches_tracked"].item() == 7
    assert "bias" not in ema.tensors


def test_wrong_names_and_widths_are_refused() -> None:
    with pytest.raises(ValueError, match="nothing named"):
        PowerFunctionEMA(nn.Linear(1, 1), ("critic",), 0.1)
    with pytest.raises(ValueError, match=r"between 0 and 0\.28"):
        gamma_from_width(0.5)
    with pytest.raises(ValueError, match="differ"):
        PowerFunctionEMA(nn.Linear(1, 1), ("weight",), 0.1).load({"other": torch.zeros(1)})
