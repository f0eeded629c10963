"""Extractor outputs of real images on disk: the next evaluation of a source extracts its samples alone."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch

from triptych.core.atomic import read_checkpoint_dir, write_checkpoint_dir
from triptych.core.cache import cache_home
from triptych.metrics.extractors.base import Extractor

VERSION = 1  # raised when the code of an extractor gives other outputs from the same weights
MAX_BYTES = 2 << 30  # of all sets together; the least recently used are deleted first
HASH_LENGTH = 64  # of a SHA-256 in hex: an extractor that has no such hash is not stored

log = logging.getLogger(__name__)


def load(images_hash: str, extractor: Extractor) -> dict[str, np.ndarray]:
    """The stored outputs of one image set.

    Args:
        images_hash: SHA-256 of the images, in hex.
        extractor: whose outputs; all that can change their bits is part of the name they are stored under.

    Returns:
        "features", (N, D) float32, and "probabilities", (N, classes) float64, where they were stored; empty
        where there is nothing, or nothing that can be read.
    """
    folder = _folder(images_hash, extractor)
    if folder is None or not folder.is_dir():
        return {}
    try:
        tensors, _ = read_checkpoint_dir(folder, None)
        os.utime(folder)
    except (OSError, ValueError) as error:
        log.warning("the stored features at %s cannot be used (%s): they are computed again", folder, error)
        return {}
    return {name: tensor.numpy() for name, tensor in tensors.get("outputs", {}).items()}


def save(images_hash: str, extractor: Extractor, outputs: dict[str, np.ndarray]) -> None:
    """Store the outputs of one image set, and delete the oldest sets beyond `MAX_BYTES`.

    Where that is impossible (a full disk, a read-only directory) they are computed again next time.

    Args:
        images_hash: SHA-256 of the images, in hex.
        extractor: whose outputs.
        outputs: "features" and perhaps "probabilities".
    """
    folder = _folder(images_hash, extractor)
    if folder is None or sum(x.nbytes for x in outputs.values()) > MAX_BYTES // 4:
        return
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        tensors = {name: torch.from_numpy(x) for name, x in outputs.items()}
        write_checkpoint_dir(folder, {"outputs": tensors}, {"extractor": extractor.name})
        _prune(folder.parent)
    except OSError as error:
        log.info("features could not be stored at %s (%s)", folder, error)


def _folder(images_hash: str, extractor: Extractor) -> Path | None:
    """Where outputs of these images lie. Bits depend on weights, code, build, device and thread count."""
    if len(extractor.hash) != HASH_LENGTH:
        return None
    parts = (
        *(images_hash, extractor.hash, extractor.name, extractor.resize, VERSION, torch.__version__),
        *(str(getattr(extractor, "device", "cpu")), torch.get_num_threads()),
    )
    return cache_home() / "features" / hashlib.sha256(repr(parts).encode()).hexdigest()[:32]


def _prune(home: Path) -> None:
    """Delete the least recently used sets until the others fit."""
    sets = sorted((x for x in home.iterdir() if x.is_dir()), key=lambda x: x.stat().st_mtime, reverse=True)
    total = 0
    for folder in sets:
        with suppress(OSError):  # another process may delete it too
            total += sum(file.stat().st_size for file in folder.iterdir())
        if total > MAX_BYTES:
            shutil.rmtree(folder, ignore_errors=True)
