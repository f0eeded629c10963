"""Who judges images of a source: a small classifier of its own classes, trained once and kept.

For a source without labels it is a small network trained on the images alone (`self_supervised`), and for
fewer than eight of them a fixed random network (`metrics.extractors.random_conv.RandomConv`). The
classifier's loop is its own: the one loop of `training/trainer.py` is for families.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from triptych.core import rng
from triptych.core.atomic import read_checkpoint_dir, write_sealed
from triptych.core.cache import cache_home
from triptych.core.filenames import readable_name
from triptych.core.threads import one_thread
from triptych.evaluation.known_mode_classifiers import RingClassifier, StackedDigitsClassifier
from triptych.metrics.extractors.base import (
    Extractor,
    FeatureNetwork,
    NetworkExtractor,
    Pixels,
    network_input,
    weights_hash,
)
from triptych.metrics.extractors.domain_cnn import DomainCNN
from triptych.metrics.extractors.random_conv import random_conv
from triptych.metrics.extractors.registry import PRETRAINED, pretrained, split_name
from triptych.metrics.extractors.self_supervised import network as network_module
from triptych.metrics.extractors.self_supervised import training
from triptych.metrics.extractors.vit import dinov2_flops_if_available

if TYPE_CHECKING:
    from triptych.data.dataset import Dataset

VERSION = 1  # of the classifier's network and training: raised when either changes
BATCH = 64
PICTURES_SEEN = 120_000  # of a pass over few pictures there are many, of MNIST two
PASSES = (2, 12)
TOP_RATE, DECAY = 8e-3, 0.05
SLOW_FLOP = 2e10  # an image: a few tenths of a second on two cores; ViT-S/14 takes 1.1e10, ViT-L/14 1.6e11
NARROW_BELOW = 10_000  # training pictures: with fewer, 64 features, so that n stays well above d

StepProgress = Callable[[int, int], None]  # (steps done, steps in all)
Progress = Callable[[str, int, int], None]  # (what: "extractor", steps done, steps in all)
log = logging.getLogger(__name__)


def extractor_for(
    dataset: Dataset,
    features: str = "auto",
    progress: Progress | None = None,
    device: torch.device | str = "cpu",
) -> Extractor:
    """The feature extractor for a source.

    "auto" is the source's own classifier where it has labels. Where it has none, it is DINOv2 if its
    weights are here already and the device is fast enough for it, else a network trained on the source's
    images alone. Points of the ring are judged by their coordinates, stacked digits by MNIST's classifier.

    The small networks are trained on the source's training images the first time (seconds to a minute) and
    read from the cache afterwards; the classifier's accuracy on the test split is stated with it. Training
    depends on nothing but the data, the code's version and the torch build.

    Args:
        dataset: the source.
        features: "auto", "domain-cnn", "self-supervised", "random-conv", or a published network,
            "inception", "inception-clean", "dinov2" or "clip", if need be with the place of its weights:
            "inception:PATH".
        progress: called with ("extractor", steps done, steps in all) after every step of a training.
        device: where a published network runs; the small ones stay on the processor.

    Raises:
        ValueError: for another name, for "domain-cnn" where the source has no labels or fewer than two
            classes, for "self-supervised" with fewer than eight training images, and where a published
            network's weights are not to be had.
    """
    name, path = split_name(features)
    spec = dataset.spec
    if name in PRETRAINED:
        return pretrained(name, path, spec.channels, device)
    if features == "auto" and (known := _of_known_modes(dataset, progress)):
        return known
    if features == "auto":
        labelled = _labelled(dataset)
        features = "domain-cnn" if labelled else _without_labels(dataset, torch.device(device))
    if features == "dinov2":
        return pretrained("dinov2", None, spec.channels, device)
    if features == "random-conv":
        return random_conv(spec.size)
    if features == "self-supervised":
        return _self_supervised(dataset, progress)
    if not _labelled(dataset):
        raise ValueError(
            f"{dataset.name} has no labels to train a classifier on: use --features self-supervised"
        )
    return trained_once(
        _folder_name(dataset), f"{dataset.name}-cnn", dataset.fingerprint, spec.size,
        lambda: untrained(dataset), lambda: fit(dataset, _step_progress(progress)),
        lambda judge: accuracy_of(judge, dataset),
    )  # fmt: skip


def _step_progress(progress: Progress | None) -> StepProgress | None:
    """`progress` with its first argument fixed."""
    return None if progress is None else (lambda done, total: progress("extractor", done, total))


def _labelled(dataset: Dataset) -> bool:
    return dataset.train.labels is not None and dataset.test.labels is not None and dataset.spec.classes > 1


def _without_labels(dataset: Dataset, device: torch.device) -> str:
    """Which features judge a source that has no labels, by default."""
    cost = dinov2_flops_if_available() if dataset.spec.channels in (1, 3) else None
    if cost is not None and (device.type != "cpu" or cost <= SLOW_FLOP):
        return "dinov2"
    if cost is not None:
        log.info("DINOv2's weights are here but slow on a processor: --features dinov2 uses them")
    enough = len(dataset.train) >= network_module.MIN_IMAGES and dataset.spec.size >= network_module.MIN_PX
    return "self-supervised" if enough else "random-conv"


def _self_supervised(dataset: Dataset, progress: Progress | None) -> NetworkExtractor:
    """The network trained on the source's images alone. Raises ValueError where they are too few or small."""
    spec, train, version = dataset.spec, dataset.train.pixels, network_module.VERSION
    if len(train) < network_module.MIN_IMAGES or spec.size < network_module.MIN_PX:
        raise ValueError(
            f"{dataset.name} has {len(train)} training images of {spec.size} px, and self-supervised "
            f"features need {network_module.MIN_IMAGES} of {network_module.MIN_PX} px or more: "
            "use --features random-conv"
        )

    def fresh() -> network_module.SelfSupervised:
        return network_module.untrained(spec.channels, spec.size, dataset.fingerprint)

    made = trained_once(
        folder_name(dataset.name, dataset.fingerprint, spec.size, spec.channels, "self-supervised", version),
        f"{dataset.name}-ssl-v{version}", dataset.fingerprint, spec.size, fresh,
        lambda: training.fit(fresh(), train, dataset.fingerprint, progress=_step_progress(progress)),
    )  # fmt: skip
    made.images = len(train)
    return made


def trained_once(
    folder: str,
    name: str,
    fingerprint: str,
    size: int,
    fresh: Callable[[], FeatureNetwork],
    train: Callable[[], FeatureNetwork],
    accuracy: Callable[[NetworkExtractor], float] | None = None,
) -> NetworkExtractor:
    """A network from the cache, else trained and kept there with its accuracy, if it is a classifier.

    folder: in the cache, of this network alone. fingerprint: of what it learns from: one of other data
    is not used. size: of its pictures, pixels. fresh: makes an untrained one, to take the kept weights.
    """
    home = cache_home() / "judges" / folder
    try:
        return _read(home, fresh(), name, size, fingerprint)
    except FileNotFoundError:
        pass
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        log.warning("the kept judge at %s cannot be used (%s): training it again", home, error)
    with one_thread():  # the weights then do not depend on how many threads the machine has
        judge = NetworkExtractor(train(), name, size)
    judge.accuracy = None if accuracy is None else accuracy(judge)
    _keep(home, judge, fingerprint)
    return judge


def _of_known_modes(dataset: Dataset, progress: Progress | None) -> Extractor | None:
    """The judge of a source whose modes are known; None for any other."""
    if dataset.source == "points:ring":
        return RingClassifier()
    if dataset.source != "stacked:mnist":
        return None
    from triptych.data.load import load

    return StackedDigitsClassifier(extractor_for(load("mnist", size=dataset.spec.size), "auto", progress))


def accuracy_of(extractor: NetworkExtractor, dataset: Dataset) -> float:
    """Share of the test split that the judge classifies rightly."""
    found = extractor.logits(np.asarray(dataset.test.pixels)).argmax(1)
    return float((found == np.asarray(dataset.test.labels)).mean())


def fit(dataset: Dataset, progress: StepProgress | None = None) -> DomainCNN:
    """Train the classifier on a source's training pictures, a few pictures of nothing among them."""
    source = rng.generator(dataset.fingerprint, "judge", VERSION)
    pixels, labels = dataset.train.pixels, np.array(dataset.train.labels, dtype=np.int64)
    return fit_classifier(
        untrained(dataset), pixels, labels, steps_for(len(pixels)), source, progress=progress
    )


def steps_for(pictures: int) -> int:
    """How many steps the judge of so many training pictures is trained for: whole passes."""
    passes = int(np.clip(ceil(PICTURES_SEEN / pictures), *PASSES))
    return passes * (pictures // min(BATCH, pictures))


def fit_classifier(
    network: DomainCNN,
    pixels: Pixels,
    labels: np.ndarray,
    steps: int,
    source: torch.Generator,
    *,
    junk: bool = True,
    progress: StepProgress | None = None,
) -> DomainCNN:
    """Train a classifier: AdamW, one cycle of the learning rate, pictures shifted by up to size / 16.

    pixels: (N, H, W, C) uint8. labels: (N,) in [0, classes). steps: optimiser steps, each of
    `BATCH` pictures or all there are. source: all randomness of the training. junk: put pictures
    of nothing among them (`_with_junk`). Returns the network, trained in place.
    """
    targets = torch.from_numpy(np.asarray(labels, dtype=np.int64))
    size = min(BATCH, len(pixels))
    per_pass = len(pixels) // size
    optimizer = torch.optim.AdamW(network.parameters(), lr=TOP_RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, TOP_RATE, max(steps + 1, 5), pct_start=0.25)
    network.train()
    for step in range(steps):
        if step % per_pass == 0:
            order = torch.randperm(len(pixels), generator=source)
        rows = order[step % per_pass * size :][:size].sort().values  # sorted: kind to a memory map
        shown = _shifted(network_input(np.asarray(pixels[rows.numpy()]), network), source)
        known = functional.one_hot(targets[rows], network.classes).float()  # (B, classes)
        if junk:
            shown, known = _with_junk(shown, known, source)
        loss = functional.cross_entropy(network(shown), known)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
        if progress is not None:
            progress(step + 1, steps)
    return network.eval()


def untrained(dataset: Dataset, seed: int | None = None) -> DomainCNN:
    """A classifier of a source's classes with its first weights; seed: others than the judge's."""
    spec = dataset.spec
    width = 64 if len(dataset.train.pixels) < NARROW_BELOW else 128
    more = () if seed is None else (seed,)
    with torch.random.fork_rng(devices=[]):  # a judge leaves no trace in torch's global stream
        torch.manual_seed(rng.mix(dataset.fingerprint, "judge weights", VERSION, *more))
        return DomainCNN(spec.channels, spec.size, spec.classes, width)


def _shifted(pictures: Tensor, source: torch.Generator) -> Tensor:
    """Each picture moved by up to size / 16 pixels, its edge repeated. (B, C, H, W) -> the same shape."""
    count, _, size, _ = pictures.shape
    reach = size // 16
    padded = functional.pad(pictures, (reach,) * 4, mode="replicate")
    offsets = torch.randint(0, 2 * reach + 1, (2, count, 1), generator=source)
    rows, columns = torch.arange(size) + offsets  # each (B, size)
    index = torch.arange(count)[:, None, None]
    moved = padded.permute(0, 2, 3, 1)[index, rows[:, :, None], columns[:, None, :]]  # (B, H, W, C)
    return moved.permute(0, 3, 1, 2)  # (B, C, H, W)


def _with_junk(pictures: Tensor, targets: Tensor, source: torch.Generator) -> tuple[Tensor, Tensor]:
    """The batch, and for every 16 pictures a blend of two, a jumble of one's blocks, a jumble
    of one's pixels and noise (or none) on a flat ground, with the target half and half or "no idea".

    A classifier that has seen only its own classes is sure of noise too, and would call a model's
    rubbish a fine digit (Hendrycks et al. 2019 train on outliers for the same reason).
    """
    count = -(-len(pictures) // 16)
    pick = torch.randint(0, len(pictures), (4, count), generator=source)
    one, other, third, fourth = (pictures[rows] for rows in pick)
    level, spread, off = torch.rand(3, count, 1, 1, 1, generator=source)
    noise = torch.rand(one.shape, generator=source) * 2 - 1
    level = level * 2.4 - 1.2  # beyond both ends: quite black and quite white are among them
    noise = (level + noise * spread * (off > 0.5)).clamp(-1, 1)
    junk = [(one + other) / 2, _jumbled(third, 4, source), _jumbled(fourth, fourth.shape[-1], source), noise]
    halves = (targets[pick[0]] + targets[pick[1]]) / 2
    unknown = torch.full((3 * count, targets.shape[1]), 1 / targets.shape[1])
    return torch.cat([pictures, *junk]), torch.cat([targets, halves, unknown])


def _jumbled(pictures: Tensor, across: int, source: torch.Generator) -> Tensor:
    """Pictures cut into about across x across blocks, put together in another order. (B, C, H, W)."""
    size = pictures.shape[-1]
    block = max(size // across, 1)
    kept = size // block * block  # what whole blocks cover; the rest stays in place
    tiles = functional.unfold(pictures[:, :, :kept, :kept], block, stride=block)  # (B, C block^2, blocks)
    order = torch.randperm(tiles.shape[2], generator=source)
    jumbled = functional.fold(tiles[:, :, order], kept, block, stride=block)  # (B, C, kept, kept)
    whole = pictures.clone()
    whole[:, :, :kept, :kept] = jumbled
    return whole


# --- the cache: one sealed folder a judge, safetensors and JSON ---


def _folder_name(dataset: Dataset) -> str:
    spec = dataset.spec
    return folder_name(dataset.name, dataset.fingerprint, spec.size, spec.channels, spec.classes)


def folder_name(name: str, *parts: str | int) -> str:
    """A folder of the cache: readable, and another one for other parts."""
    readable = readable_name(name, marks="", most_bytes=40, empty="source")
    return f"{readable}-{rng.mix(*parts):016x}-v{VERSION}"


def _read(home: Path, network: FeatureNetwork, name: str, size: int, fingerprint: str) -> NetworkExtractor:
    """The judge kept in `home`. Raises OSError or ValueError where there is none, or a damaged one."""
    tensors, meta = read_checkpoint_dir(home, None)
    network.load_state_dict(tensors["weights"])
    if weights_hash(network) != meta["hash"] or meta["fingerprint"] != fingerprint:
        raise ValueError("its weights or its data are not those it names")
    accuracy = meta["accuracy"]
    return NetworkExtractor(network, name, size, None if accuracy is None else float(accuracy))


def _keep(home: Path, judge: NetworkExtractor, fingerprint: str) -> None:
    """Write a judge whole or not at all; where that cannot be done it is trained again next time."""
    meta: dict[str, Any] = {
        "name": judge.name,
        "hash": judge.hash,
        "fingerprint": fingerprint,
        "accuracy": judge.accuracy,
        "version": VERSION,
        "torch": torch.__version__,
    }
    partial = home.with_name(f".partial-{home.name}-{os.getpid()}")
    try:
        home.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(partial, ignore_errors=True)
        write_sealed(partial, {"weights": judge.network.state_dict()}, meta)
        shutil.rmtree(home, ignore_errors=True)  # a damaged one; another process's equal one
        partial.rename(home)
    except OSError as error:
        log.warning("the judge could not be kept at %s (%s)", home, error)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
