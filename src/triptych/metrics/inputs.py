"""What metrics are computed from: image sets whose features and probabilities are computed once.

Feature extraction is most of the cost of an evaluation with a wide network. Scores, memorization, class
shares and latent geometry all look at the same few image sets, and the evaluations of one duel at the same
real images, so the outputs of an extractor are cached by (hash of the images, extractor).
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

import numpy as np

from triptych.metrics import feature_store
from triptych.metrics.extractors.base import Extractor
from triptych.metrics.stats.intervals import groups_for
from triptych.metrics.stats.resampling import split_groups

T = TypeVar("T")
CACHE_BYTES = 1 << 30  # of extractor outputs held in memory; the least recently used are dropped first


@dataclass
class _Outputs:
    """What one extractor returned for one image set, so far."""

    features: np.ndarray | None = None  # (N, D) float32
    probabilities: np.ndarray | None = None  # (N, classes) float64

    @property
    def bytes(self) -> int:
        return sum(x.nbytes for x in (self.features, self.probabilities) if x is not None)


class FeatureCache:
    """Extractor outputs by hash of images and extractor. The arrays that it returns must not be changed."""

    def __init__(self, max_bytes: int = CACHE_BYTES) -> None:
        self.max_bytes = max_bytes
        self._kept: OrderedDict[tuple[object, ...], _Outputs] = OrderedDict()

    def features(self, images: ImageSet) -> np.ndarray:
        """(N, D) float32. One pass gives the probabilities too, where `images` says they will be needed."""
        outputs = self._outputs(images)
        if outputs.features is None:
            both = getattr(images.extractor, "features_and_probabilities", None)
            if images.with_probabilities and both is not None:
                outputs.features, outputs.probabilities = both(images.pixels)
            else:
                outputs.features = images.extractor(images.pixels)
            self._keep(images, outputs)
        assert outputs.features is not None
        return outputs.features

    def probabilities(self, images: ImageSet) -> np.ndarray:
        """(N, classes) float64. Raises ValueError for an extractor without classes."""
        outputs = self._outputs(images)
        if outputs.probabilities is None:
            both = getattr(images.extractor, "features_and_probabilities", None)
            if outputs.features is None and both is not None and images.extractor.classes:
                outputs.features, outputs.probabilities = both(images.pixels)
            else:
                outputs.probabilities = images.extractor.probabilities(images.pixels)
            self._keep(images, outputs)
        assert outputs.probabilities is not None
        return outputs.probabilities

    def _outputs(self, images: ImageSet) -> _Outputs:
        extractor = images.extractor
        # weights alone do not name features: resizing, and gray as RGB, are in `resize` and `name`
        key = (images.hash, extractor.hash, extractor.name, extractor.resize, extractor.width)
        if key not in self._kept:
            self._kept[key] = _Outputs(**feature_store.load(images.hash, extractor) if images.stored else {})
        self._kept.move_to_end(key)
        return self._kept[key]

    def _keep(self, images: ImageSet, outputs: _Outputs) -> None:
        """Store new outputs on disk, if they are to be, and drop what does not fit in memory."""
        if images.stored:
            arrays = {"features": outputs.features, "probabilities": outputs.probabilities}
            known = {name: x for name, x in arrays.items() if x is not None}
            feature_store.save(images.hash, images.extractor, known)
        self._drop()

    def _drop(self) -> None:
        while len(self._kept) > 1 and sum(outputs.bytes for outputs in self._kept.values()) > self.max_bytes:
            self._kept.popitem(last=False)


SHARED = FeatureCache()
"""The cache of this process: evaluations of one source share the outputs of its real images."""


class ImageSet:
    """Images, what is known of them, and what one extractor says of them."""

    def __init__(
        self,
        pixels: np.ndarray,
        extractor: Extractor,
        labels: np.ndarray | None = None,
        *,
        with_probabilities: bool = False,
        stored: bool = False,
        cache: FeatureCache | None = None,
    ) -> None:
        """Nothing is computed yet.

        Args:
            pixels: (N, H, W, C) uint8.
            extractor: gives features, and probabilities where it has classes.
            labels: (N,) int, or None where they are unknown.
            with_probabilities: whether probabilities will be needed too: the pass that computes the
                features then computes both.
            stored: whether outputs are stored on disk: for real images, which every evaluation looks at.
            cache: where outputs are cached; None takes the cache of this process.
        """
        self.pixels, self.extractor, self.labels = pixels, extractor, labels
        self.with_probabilities = with_probabilities and extractor.classes > 0
        self.stored = stored
        self._cache = SHARED if cache is None else cache

    def __len__(self) -> int:
        return len(self.pixels)

    @cached_property
    def hash(self) -> str:
        """SHA-256, in hex, of the pixels in their order."""
        pixels = np.ascontiguousarray(self.pixels)
        digest = hashlib.sha256(f"{pixels.shape} {pixels.dtype}".encode())
        digest.update(pixels.data)
        return digest.hexdigest()

    @property
    def features(self) -> np.ndarray:
        """(N, D) float32."""
        return self._cache.features(self)

    @property
    def probabilities(self) -> np.ndarray:
        """(N, classes) float64. Raises ValueError for an extractor without classes."""
        return self._cache.probabilities(self)


@dataclass(frozen=True)
class EvaluationInputs:
    """Real images, samples and, for floors, training images, seen by one extractor."""

    real: ImageSet
    fake: ImageSet
    train: ImageSet | None = None
    """Other real images, that stand in the samples' place for the floor; None: no floors."""
    floor_of: EvaluationInputs | None = None
    """The inputs whose floors these serve, with training images in the samples' place; None: samples."""
    _memo: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(
        cls,
        real: np.ndarray,
        fake: np.ndarray,
        extractor: Extractor,
        train: np.ndarray | None = None,
        labels: tuple[np.ndarray, np.ndarray] | None = None,
        *,
        with_probabilities: bool = False,
        stored: bool = False,
        cache: FeatureCache | None = None,
    ) -> EvaluationInputs:
        """Inputs from arrays.

        Args:
            real: (N, H, W, C) uint8.
            fake: (M, H, W, C) uint8.
            extractor: sees all sets.
            train: other real images for floors, (K, H, W, C) uint8; None: no floors.
            labels: classes of real images and those that samples were drawn for, (N,) and (M,) int.
            with_probabilities: whether probabilities will be needed beside features.
            stored: whether outputs of the real and training images are stored on disk.
            cache: where outputs are cached; None takes the cache of this process.

        Returns:
            The inputs; nothing is computed yet.
        """
        real_labels, fake_labels = labels or (None, None)

        def images(pixels: np.ndarray, known: np.ndarray | None, stored: bool) -> ImageSet:
            options = {"with_probabilities": with_probabilities, "stored": stored}
            return ImageSet(pixels, extractor, known, **options, cache=cache)

        return cls(
            images(real, real_labels, stored),
            images(fake, fake_labels, False),
            None if train is None else images(train, None, stored),
        )

    def extract(self) -> None:
        """Compute the outputs of all sets now, on as many threads as torch has."""
        for images in (self.real, self.fake, self.train):
            if images is not None:
                _ = images.features

    @property
    def extractor(self) -> Extractor:
        """The extractor of all sets."""
        return self.real.extractor

    @property
    def smallest(self) -> int:
        """Images in the smallest set, training images included."""
        return min(len(x) for x in (self.real, self.fake, self.train) if x is not None)

    @property
    def groups(self) -> int:
        """How many groups the jackknife leaves out in turn."""
        return groups_for(min(len(self.real), len(self.fake)))

    def real_groups(self, values: np.ndarray) -> list[np.ndarray]:
        """Values of the real images, (N, ...), in the jackknife's groups: what belongs together stays so."""
        return split_groups(np.asarray(values), self.groups, seed=0)

    def fake_groups(self, values: np.ndarray) -> list[np.ndarray]:
        """Values of the samples, (M, ...), in the jackknife's groups."""
        return split_groups(np.asarray(values), self.groups, seed=1)

    def with_train_as_fake(self) -> EvaluationInputs | None:
        """Training images in the samples' place: what floors are computed from. None without them."""
        train = self.train
        if train is None:
            return None
        return self.once("floor", lambda: EvaluationInputs(self.real, train, floor_of=self))

    def once(self, key: str, compute: Callable[[], T]) -> T:
        """`compute()`, called the first time only: for metrics that are computed together.

        Args:
            key: what is computed, a name of the caller's own.
            compute: gives the result.

        Returns:
            The result of the first call with this key.
        """
        if key not in self._memo:
            self._memo[key] = compute()
        found: T = self._memo[key]
        return found
