"""Selecting the weights of parts of a module."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn


def named_under(module: nn.Module, prefixes: Sequence[str]) -> dict[str, Tensor]:
    """The weights and buffers of the parts of a module that the prefixes name."""
    return {
        name: tensor
        for name, tensor in module.state_dict().items()
        if any(name == prefix or name.startswith(f"{prefix}.") for prefix in prefixes)
    }
