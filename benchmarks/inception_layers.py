"""FID's Inception network and its legacy resizing, layer by layer beside torch-fidelity's own.

Both get the same random weights and the same images. Needs no download, but torch-fidelity without
what it depends on (it would bring torchvision): `pip install --no-deps torch-fidelity`; without it the
rows are written "not run". Writes a JSON file and a table to `results/`.

    python benchmarks/inception_layers.py
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from triptych.metrics.extractors.inception import SIZE_PX, InceptionV3
from triptych.metrics.extractors.registry import INCEPTION_SCALING
from triptych.metrics.extractors.resize import TF1Bilinear

SIDES = (16, 32, 64, 128, 299, 300, 512, 1024)  # pixels, of the images that are resized
FOLLOWS = {"Conv2d_2b_3x3": "MaxPool_1", "Conv2d_4a_3x3": "MaxPool_2"}  # their poolings are modules
OUTPUTS = ("2048", "logits_unbiased", "logits")


def random_weights(network: nn.Module) -> dict[str, Tensor]:
    """Weights that let every block's outputs vary on about the same scale."""
    source = torch.Generator().manual_seed(0)
    weights = {}
    for name, like in network.state_dict().items():
        noise = torch.randn(like.shape, generator=source)
        if name.endswith("conv.weight"):
            weights[name] = noise * like[0].numel() ** -0.5
        elif name.endswith(("running_var", "bn.weight")):
            weights[name] = 0.5 + noise.abs()
        else:
            weights[name] = noise * 0.1
    return weights


def peer(weights: dict[str, Tensor]) -> tuple[nn.Module, Callable[..., Tensor], str] | None:
    """torch-fidelity's extractor with these weights, its resizing and its version; None if it is not here."""
    for name in ("", ".datasets", ".transforms", ".transforms.functional"):
        whole = f"torchvision{name}"  # its package asks for it; the part used here does not
        sys.modules.setdefault(whole, _Anything(whole))
    try:
        from torch_fidelity import __version__
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
        from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x
    except ImportError as error:
        print(f"torch-fidelity: not run ({error})")
        return None
    with tempfile.TemporaryDirectory() as home:
        torch.save(weights, Path(home) / "weights.pth")
        theirs = FeatureExtractorInceptionV3(
            "inception-v3-compat", list(OUTPUTS), feature_extractor_weights_path=f"{home}/weights.pth"
        )
    return theirs, interpolate_bilinear_2d_like_tensorflow1x, __version__


class _Anything(types.ModuleType):
    """A module of classes that are never used."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__path__: list[str] = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return sys.modules.get(f"{self.__name__}.{name}") or type(name, (), {})


def row(what: str, ours: Tensor, theirs: Tensor) -> dict[str, Any]:
    assert ours.shape == theirs.shape, (what, ours.shape, theirs.shape)
    gap = (ours.double() - theirs.double()).abs().max().item()
    return {
        "what": what,
        "shape": list(ours.shape[1:]),
        "std": ours.double().std().item(),
        "max_abs_difference": gap,
        "bit_equal": torch.equal(ours, theirs),
    }


def layer_rows(ours: InceptionV3, theirs: nn.Module, pixels: np.ndarray) -> list[dict[str, Any]]:
    kept: dict[str, Tensor] = {}
    for name, module in theirs.named_children():
        module.register_forward_hook(lambda _m, _i, out, name=name: kept.__setitem__(name, out.clone()))
    whole = dict(zip(OUTPUTS, theirs(torch.from_numpy(pixels).permute(0, 3, 1, 2)), strict=True))
    rows = []
    for name, out in ours.stages(INCEPTION_SCALING(TF1Bilinear(SIZE_PX)(pixels))):
        rows.append(row(name, out, kept[FOLLOWS.get(name, name)]))
        last = out
    features = last.mean((2, 3))
    rows.append(row("pool3, 2048 features", features, whole["2048"]))
    rows.append(row("logits_unbiased", ours.logits(features), whole["logits_unbiased"]))
    rows.append(row("logits", ours.logits(features, biased=True), whole["logits"]))
    return rows


def resize_rows(theirs: Callable[..., Tensor]) -> list[dict[str, Any]]:
    rng = np.random.default_rng(1)
    rows = []
    for side in SIDES:
        pixels = rng.integers(0, 256, (2, side, side, 3), dtype=np.uint8)
        images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float()
        rows.append(
            row(
                f"resize {side} to {SIZE_PX}",
                TF1Bilinear(SIZE_PX)(pixels),
                theirs(images, size=(SIZE_PX, SIZE_PX), align_corners=False),
            )
        )
    return rows


def seconds(compute: Callable[[], object], times: int = 3) -> float:
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        compute()
        taken.append(time.perf_counter() - began)
    return min(taken)


def table(result: dict[str, Any]) -> str:
    lines = [
        "# InceptionV3 as FID means it: Triptych beside torch-fidelity",
        "",
        f"Random weights, {result['images']} random images of 64 px, float32. torch {result['torch']}, "
        f"torch-fidelity {result['peer']}. The largest absolute difference of each block's outputs.",
        "",
        "| Block | Shape | Std of outputs | Largest difference | Bit for bit |",
        "|---|---|---|---|---|",
    ]
    for one in result["rows"]:
        shape = " x ".join(map(str, one["shape"]))
        gap = f"{one['max_abs_difference']:.2g}"
        lines.append(
            f"| {one['what']} | {shape} | {one['std']:.3g} | {gap} | {'yes' if one['bit_equal'] else 'no'} |"
        )
    if not result["rows"]:
        lines.append("| all | | | *not run* | |")
    lines += ["", "Same names and shapes of all tensors: " + result["names"] + "."]
    if result["seconds"]:
        lines += ["", f"Seconds for {result['images']} images on one thread, best of 3: "]
        lines[-1] += ", ".join(f"{who} {value:.2f}" for who, value in result["seconds"].items()) + "."
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    flags = parser.parse_args()
    torch.set_num_threads(1)
    ours = InceptionV3().eval().requires_grad_(False)
    weights = random_weights(ours)
    ours.load_state_dict(weights)
    pixels = np.random.default_rng(0).integers(0, 256, (flags.images, 64, 64, 3), dtype=np.uint8)
    result: dict[str, Any] = {
        "images": flags.images, "torch": torch.__version__, "peer": "not here", "rows": [],
        "names": "not run", "seconds": {},
    }  # fmt: skip
    if (other := peer(weights)) is not None:
        theirs, resize, result["peer"] = other
        shapes = [
            {name: list(x.shape) for name, x in net.state_dict().items() if "num_batches" not in name}
            for net in (ours, theirs)
        ]
        result["names"] = f"{'yes' if shapes[0] == shapes[1] else 'no'}, {len(shapes[0])}"
        result["rows"] = layer_rows(ours, theirs, pixels) + resize_rows(resize)
        images = torch.from_numpy(pixels).permute(0, 3, 1, 2)
        scaled = TF1Bilinear(SIZE_PX)
        result["seconds"] = {
            "Triptych": seconds(lambda: ours.logits(ours.features(INCEPTION_SCALING(scaled(pixels))))),
            "torch-fidelity": seconds(lambda: theirs(images)),
        }
    flags.out.mkdir(parents=True, exist_ok=True)
    (flags.out / "inception_layers.json").write_text(json.dumps(result, indent=2) + "\n")
    (flags.out / "inception_layers.md").write_text(table(result))
    print(table(result))


if __name__ == "__main__":
    main()
