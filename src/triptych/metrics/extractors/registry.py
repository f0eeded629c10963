"""Published networks by name, with the preprocessing protocol of each."""

from __future__ import annotations

from pathlib import Path

import torch

from triptych.core.errors import UsageError
from triptych.core.nearest import nearest
from triptych.metrics.extractors import inception_weights, vit
from triptych.metrics.extractors.pretrained import PretrainedExtractor, Scaling
from triptych.metrics.extractors.resize import PillowBicubic, Resizing, TF1Bilinear

SMALL = ("auto", "domain-cnn", "self-supervised", "random-conv")
PRETRAINED = ("inception", "inception-clean", "dinov2", "clip")
FEATURES = SMALL + PRETRAINED
# The scaling of the TensorFlow graph, as in torch-fidelity and clean-fid. pytorch-fid uses 2 x / 255 - 1,
# which is equal at 0 and differs by 1/128 at 255.
INCEPTION_SCALING = Scaling("(x - 128) / 128", (128, 128, 128), (128, 128, 128))


def split_name(features: str) -> tuple[str, Path | None]:
    """Split "inception:PATH" into the name of the features and the path of the weights, None if not given.

    Raises UsageError for an unknown name, or for a path where the features have no weights to load.
    """
    name, colon, path = features.partition(":")
    if name not in FEATURES or (colon and (name in SMALL or not path)):
        near = nearest(name, FEATURES) if name not in FEATURES else None
        hint = f"did you mean {near}? " if near else ""
        raise UsageError(
            f"unknown features {features!r}: {hint}expected one of {', '.join(FEATURES)}; the last "
            f"{len(PRETRAINED)} accept a path to their weights: inception:PATH"
        )
    return name, Path(path).expanduser() if colon else None


def pretrained(
    name: str, path: Path | None = None, channels: int = 3, device: torch.device | str = "cpu"
) -> PretrainedExtractor:
    """Load a published network as an extractor.

    Raises WeightsError if weights or libraries are missing; no other network is substituted.

    Args:
        name: "inception" (FID's network with TensorFlow 1's resizing: "inception-legacy" in scores),
            "inception-clean" (with the resizing of clean-fid), "dinov2" or "clip". Weights that are not known
            to be the published ones make it "inception-other-...".
        path: of the weights; None searches for them and downloads them.
        channels: 1 or 3; gray images are repeated, and the name says so.
        device: where the network runs.

    Returns:
        The extractor.
    """
    if name.startswith("inception"):
        return _inception("clean" if name == "inception-clean" else "legacy", path, channels, device)
    load = vit.load_dinov2 if name == "dinov2" else vit.load_clip
    scaling = vit.IMAGENET if name == "dinov2" else vit.OPENAI
    network = load(path)
    rule = PillowBicubic(network.size_px, "uint8")
    return PretrainedExtractor(network, network.title, rule, scaling, channels, device)


def _inception(
    rule: str, path: Path | None, channels: int, device: torch.device | str
) -> PretrainedExtractor:
    network, published = inception_weights.load_inception(path)
    resizing: Resizing = TF1Bilinear(299) if rule == "legacy" else PillowBicubic(299)
    name = f"inception-{rule}" if published else f"inception-other-{rule}"
    return PretrainedExtractor(network, name, resizing, INCEPTION_SCALING, channels, device)
