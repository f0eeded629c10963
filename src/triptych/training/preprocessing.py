"""Training images as a model's losses want them, computed once: the latents of latent diffusion."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import replace

import numpy as np
import torch

from triptych.core.atomic import atomic_write
from triptych.core.cache import cache_home
from triptych.core.images import to_float
from triptych.data.dataset import Dataset, Split
from triptych.models.registry import AnyModel

BATCH = 64  # images at a time

log = logging.getLogger(__name__)


def training_split(model: AnyModel, dataset: Dataset, flip: bool, device: torch.device) -> Split:
    """The training images, or what `preprocess` makes of them, from the cache where it was computed before.

    Args:
        model: The model, its components trained.
        dataset: The images.
        flip: Whether batches mirror images: then each batch is preprocessed when it is drawn, as the latent
            of a mirrored image is not the mirrored latent.
        device: Where to compute.

    Returns:
        The training split; preprocessed values are (N, h, w, c) float32.
    """
    if not model.preprocesses or flip:
        return dataset.train
    file = cache_home() / "latents" / f"{preprocessing_hash(model, dataset)}.npy"
    try:
        return replace(dataset.train, pixels=np.load(file, mmap_mode="r", allow_pickle=False))
    except (OSError, ValueError):  # absent or damaged
        latents = preprocessed(model.to(device), dataset.train.pixels)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(file) as partial, partial.open("wb") as stream:
            np.save(stream, latents, allow_pickle=False)
    except OSError as error:
        log.warning("latents could not be stored at %s (%s): they are computed again next time", file, error)
    return replace(dataset.train, pixels=latents)


def preprocessed(model: AnyModel, pixels: np.ndarray) -> np.ndarray:
    """What losses see of images.

    Args:
        model: The model.
        pixels: (N, H, W, C) uint8.

    Returns:
        (N, h, w, c) float32.
    """
    device = next(model.parameters()).device
    parts = []
    with torch.no_grad():
        for start in range(0, len(pixels), BATCH):
            images = to_float(np.asarray(pixels[start : start + BATCH])).to(device)
            parts.append(model.preprocess(images).float().permute(0, 2, 3, 1).cpu().numpy())
    return np.ascontiguousarray(np.concatenate(parts))


def preprocessing_hash(model: AnyModel, dataset: Dataset) -> str:
    """Hash all that decides the values.

    Args:
        model: For the weights of its components.
        dataset: For the fingerprint of its images.

    Returns:
        SHA-256 in hex.
    """
    digest = hashlib.sha256(f"{dataset.fingerprint} {torch.__version__}".encode())
    for name, component in sorted(model.component_models.items()):
        for key, tensor in sorted(component.state_dict().items()):
            digest.update(f"{name}.{key} {tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
