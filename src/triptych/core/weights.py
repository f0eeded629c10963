"""Selection of weights by name."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn


def named_under(module: nn.Module, prefixes: Sequence[str]) -> dict[str, Tensor]:
    """Select weights and buffers by the prefixes of their names.

    Args:
        module: The module.
        prefixes: Names of submodules or parameters: "generator" selects "generator.0.weight".

    Returns:
        Name -> tensor, sharing memory with the module.
    """
    return {
        name: tensor
        for name, tensor in module.state_dict().items()
        if any(name == prefix or name.startswith(f"{prefix}.") for prefix in prefixes)
    }
