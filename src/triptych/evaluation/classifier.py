"""Feature extractors for a source: a small classifier of its classes, trained once and cached.

For a source without labels it is a small network trained on the images alone (`self_supervised`), and for
fewer than eight of them a fixed random network (`metrics.extractors.random_conv.RandomConv`). The
classifier's training loop is its own: the loop of `training/trainer.py` is for generative models.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from triptych.core import rng
from triptych.core.atomic import read_checkpoint_dir, write_checkpoint_dir
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
IMAGES_SEEN = 120_000  # in training: many passes over few images, two over MNIST
PASSES = (2, 12)
MAX_LR, WEIGHT_DECAY = 8e-3, 0.05
SLOW_FLOP = 2e10  # an image: a few tenths of a second on two cores; ViT-S/14 takes 1.1e10, ViT-L/14 1.6e11
NARROW_BELOW = 10_000  # training images: with fewer, 64 features, so that n stays well above d

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
    images alone. For points of the ring, features are the coordinates; for stacked digits, those of MNIST's
    classifier.

    The small networks are trained on the source's training images the first time (seconds to a minute) and
    read from the cache afterwards; the classifier's accuracy on the test split is stored with it. Training
    depends on nothing but the data, the code's version and the torch build.

    Args:
        dataset: the source.
        features: "auto", "domain-cnn", "self-supervised", "random-conv", or a published network,
            "inception", "inception-clean", "dinov2" or "clip", if need be with the place of its weights:
            "inception:PATH".
        progress: called with ("extractor", steps done, steps in all) after every step of a training.
        device: where a published network runs; the small ones stay on the CPU.

    Returns:
        The extractor.

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
        labeled = _labeled(dataset)
        features = "domain-cnn" if labeled else _without_labels(dataset, torch.device(device))
    if features == "dinov2":
        return pretrained("dinov2", None, spec.channels, device)
    if features == "random-conv":
        return random_conv(spec.size)
    if features == "self-supervised":
        return _self_supervised(dataset, progress)
    if not _labeled(dataset):
        raise ValueError(
            f"{dataset.name} has no labels to train a classifier on: use --features self-supervised"
        )
    return trained_once(
        _folder_name(dataset), f"{dataset.name}-cnn", dataset.fingerprint, spec.size,
        lambda: untrained(dataset), lambda: fit(dataset, _step_progress(progress)),
        lambda extractor: accuracy_of(extractor, dataset),
    )  # fmt: skip


def _step_progress(progress: Progress | None) -> StepProgress | None:
    """`progress` with its first argument fixed."""
    return None if progress is None else (lambda done, total: progress("extractor", done, total))


def _labeled(dataset: Dataset) -> bool:
    return dataset.train.labels is not None and dataset.test.labels is not None and dataset.spec.classes > 1


def _without_labels(dataset: Dataset, device: torch.device) -> str:
    """The default features of a source that has no labels."""
    cost = dinov2_flops_if_available() if dataset.spec.channels in (1, 3) else None
    if cost is not None and (device.type != "cpu" or cost <= SLOW_FLOP):
        return "dinov2"
    if cost is not None:
        log.info("DINOv2's weights are here but slow on a CPU: --features dinov2 uses them")
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

    extractor = trained_once(
        folder_name(dataset.name, dataset.fingerprint, spec.size, spec.channels, "self-supervised", version),
        f"{dataset.name}-ssl-v{version}", dataset.fingerprint, spec.size, fresh,
        lambda: training.fit(fresh(), train, dataset.fingerprint, progress=_step_progress(progress)),
    )  # fmt: skip
    extractor.images = len(train)
    return extractor


def trained_once(
    folder: str,
    name: str,
    fingerprint: str,
    size: int,
    fresh: Callable[[], FeatureNetwork],
    train: Callable[[], FeatureNetwork],
    accuracy: Callable[[NetworkExtractor], float] | None = None,
) -> NetworkExtractor:
    """A network from the cache; if it is not there, it is trained and cached.

    Args:
        folder: name of its directory in the cache, of this network alone.
        name: of the extractor, for the names of scores.
        fingerprint: of the training data; a cached network of other data is not used.
        size: side of its images, pixels.
        fresh: gives an untrained network, which takes the cached weights.
        train: gives the trained network.
        accuracy: gives a classifier's accuracy on test images; None for a network without classes.

    Returns:
        The extractor.
    """
    home = cache_home() / "judges" / folder  # its name since the first version: what is there stays valid
    try:
        return _read(home, fresh(), name, size, fingerprint)
    except FileNotFoundError:
        pass
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        log.warning("the cached extractor at %s cannot be used (%s): training it again", home, error)
    with one_thread():  # the weights then do not depend on how many threads the machine has
        extractor = NetworkExtractor(train(), name, size)
    extractor.accuracy = None if accuracy is None else accuracy(extractor)
    _keep(home, extractor, fingerprint)
    return extractor


def _of_known_modes(dataset: Dataset, progress: Progress | None) -> Extractor | None:
    """The extractor of a source whose modes are known; None for any other."""
    if dataset.source == "points:ring":
        return RingClassifier()
    if dataset.source != "stacked:mnist":
        return None
    from triptych.data.load import load

    return StackedDigitsClassifier(extractor_for(load("mnist", size=dataset.spec.size), "auto", progress))


def accuracy_of(extractor: NetworkExtractor, dataset: Dataset) -> float:
    """Accuracy of a classifier on the test split.

    Args:
        extractor: the classifier.
        dataset: a source with labels.

    Returns:
        Share of the test images that it classifies correctly, in [0, 1].
    """
    predicted = extractor.logits(np.asarray(dataset.test.pixels)).argmax(1)
    return float((predicted == np.asarray(dataset.test.labels)).mean())


def fit(dataset: Dataset, progress: StepProgress | None = None) -> DomainCNN:
    """Train the classifier of a source on its training images, with a few images of no class among them.

    Args:
        dataset: a source with labels.
        progress: called with steps done and steps in all.

    Returns:
        The trained network.
    """
    source = rng.generator(dataset.fingerprint, "judge", VERSION)
    pixels, labels = dataset.train.pixels, np.array(dataset.train.labels, dtype=np.int64)
    return fit_classifier(
        untrained(dataset), pixels, labels, steps_for(len(pixels)), source, progress=progress
    )


def steps_for(images: int) -> int:
    """Training steps of the classifier for so many training images: whole passes over them."""
    passes = int(np.clip(ceil(IMAGES_SEEN / images), *PASSES))
    return passes * (images // min(BATCH, images))


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
    """Train a classifier: AdamW, one cycle of the learning rate, images shifted by up to size / 16.

    Args:
        network: the classifier, trained in place.
        pixels: (N, H, W, C) uint8.
        labels: (N,) in [0, classes).
        steps: optimizer steps, each of `BATCH` images, or of all where there are fewer.
        source: of all random draws.
        junk: mix in images of no class (`_with_junk`).
        progress: called with steps done and steps in all.

    Returns:
        The same network, in evaluation mode.
    """
    targets = torch.from_numpy(np.asarray(labels, dtype=np.int64))
    size = min(BATCH, len(pixels))
    per_pass = len(pixels) // size
    optimizer = torch.optim.AdamW(network.parameters(), lr=MAX_LR, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, MAX_LR, max(steps + 1, 5), pct_start=0.25)
    network.train()
    for step in range(steps):
        if step % per_pass == 0:
            order = torch.randperm(len(pixels), generator=source)
        rows = order[step % per_pass * size :][:size].sort().values  # sorted: kind to a memory map
        batch = _shifted(network_input(np.asarray(pixels[rows.numpy()]), network), source)
        target = functional.one_hot(targets[rows], network.classes).float()  # (B, classes)
        if junk:
            batch, target = _with_junk(batch, target, source)
        loss = functional.cross_entropy(network(batch), target)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
        if progress is not None:
            progress(step + 1, steps)
    return network.eval()


def untrained(dataset: Dataset, seed: int | None = None) -> DomainCNN:
    """A classifier of a source's classes with its initial weights.

    Args:
        dataset: the source.
        seed: None gives the weights that the source's extractor starts from; a number gives others.

    Returns:
        The network.
    """
    spec = dataset.spec
    width = 64 if len(dataset.train.pixels) < NARROW_BELOW else 128
    more = () if seed is None else (seed,)
    with torch.random.fork_rng(devices=[]):  # leaves no trace in torch's global random stream
        torch.manual_seed(rng.mix(dataset.fingerprint, "judge weights", VERSION, *more))
        return DomainCNN(spec.channels, spec.size, spec.classes, width)


def _shifted(images: Tensor, source: torch.Generator) -> Tensor:
    """Each image moved by up to size / 16 pixels, its edge repeated. (B, C, H, W) -> the same shape."""
    count, _, size, _ = images.shape
    reach = size // 16
    padded = functional.pad(images, (reach,) * 4, mode="replicate")
    offsets = torch.randint(0, 2 * reach + 1, (2, count, 1), generator=source)
    rows, columns = torch.arange(size) + offsets  # each (B, size)
    index = torch.arange(count)[:, None, None]
    moved = padded.permute(0, 2, 3, 1)[index, rows[:, :, None], columns[:, None, :]]  # (B, H, W, C)
    return moved.permute(0, 3, 1, 2)  # (B, C, H, W)


def _with_junk(images: Tensor, targets: Tensor, source: torch.Generator) -> tuple[Tensor, Tensor]:
    """The batch, and for every 16 images a blend of two, one with its blocks shuffled, one with its pixels
    shuffled, and noise (or none) on a flat background; targets are half and half, or uniform.

    A classifier that has seen only its own classes is confident about noise too, and would call bad samples
    fine digits (Hendrycks et al. 2019 train on outliers for the same reason).
    """
    count = -(-len(images) // 16)
    pick = torch.randint(0, len(images), (4, count), generator=source)
    one, other, third, fourth = (images[rows] for rows in pick)
    level, scale, off = torch.rand(3, count, 1, 1, 1, generator=source)
    noise = torch.rand(one.shape, generator=source) * 2 - 1
    level = level * 2.4 - 1.2  # beyond both ends: quite black and quite white are among them
    noise = (level + noise * scale * (off > 0.5)).clamp(-1, 1)
    junk = [(one + other) / 2, _jumbled(third, 4, source), _jumbled(fourth, fourth.shape[-1], source), noise]
    halves = (targets[pick[0]] + targets[pick[1]]) / 2
    unknown = torch.full((3 * count, targets.shape[1]), 1 / targets.shape[1])
    return torch.cat([images, *junk]), torch.cat([targets, halves, unknown])


def _jumbled(images: Tensor, across: int, source: torch.Generator) -> Tensor:
    """Images cut into about across x across blocks, put together in another order. (B, C, H, W)."""
    size = images.shape[-1]
    block = max(size // across, 1)
    kept = size // block * block  # what whole blocks cover; the rest stays in place
    tiles = functional.unfold(images[:, :, :kept, :kept], block, stride=block)  # (B, C block^2, blocks)
    order = torch.randperm(tiles.shape[2], generator=source)
    jumbled = functional.fold(tiles[:, :, order], kept, block, stride=block)  # (B, C, kept, kept)
    whole = images.clone()
    whole[:, :, :kept, :kept] = jumbled
    return whole


# --- the cache: one checksummed directory an extractor, safetensors and JSON ---


def _folder_name(dataset: Dataset) -> str:
    spec = dataset.spec
    return folder_name(dataset.name, dataset.fingerprint, spec.size, spec.channels, spec.classes)


def folder_name(name: str, *parts: str | int) -> str:
    """The name of a directory in the cache: readable, and another one for other parts.

    Args:
        name: What a person may recognize.
        *parts: All that decides the content.

    Returns:
        The name, safe on every file system.
    """
    readable = readable_name(name, marks="", most_bytes=40, empty="source")
    return f"{readable}-{rng.mix(*parts):016x}-v{VERSION}"


def _read(home: Path, network: FeatureNetwork, name: str, size: int, fingerprint: str) -> NetworkExtractor:
    """The extractor cached in `home`. Raises OSError or ValueError where there is none, or a damaged one."""
    tensors, meta = read_checkpoint_dir(home, None)
    network.load_state_dict(tensors["weights"])
    if weights_hash(network) != meta["hash"] or meta["fingerprint"] != fingerprint:
        raise ValueError("its weights or its data are not those it names")
    accuracy = meta["accuracy"]
    return NetworkExtractor(network, name, size, None if accuracy is None else float(accuracy))


def _keep(home: Path, extractor: NetworkExtractor, fingerprint: str) -> None:
    """Cache an extractor whole or not at all; where that is impossible it is trained again next time."""
    meta: dict[str, Any] = {
        "name": extractor.name,
        "hash": extractor.hash,
        "fingerprint": fingerprint,
        "accuracy": extractor.accuracy,
        "version": VERSION,
        "torch": torch.__version__,
    }
    try:
        home.parent.mkdir(parents=True, exist_ok=True)
        write_checkpoint_dir(home, {"weights": extractor.network.state_dict()}, meta)
    except OSError as error:
        log.warning("the extractor could not be cached at %s (%s)", home, error)
