"""One judge for all: draw samples from a model and score them against the source's test pictures."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict

from triptych import __version__
from triptych.judge import judge_for
from triptych.metrics import fid, frechet, kernel, kid, neighbours
from triptych.metrics.card import Card, Score
from triptych.metrics.features import Extractor
from triptych.metrics.intervals import LEAST, METRICS, Estimate, estimates
from triptych.metrics.kernel import COEF, DEGREE
from triptych.metrics.neighbours import DENSITY_K, PRECISION_K, neighbour_scores
from triptych.metrics.seal import Sealed
from triptych.metrics.threads import one_thread
from triptych.model import SAMPLING_BATCH, Model, load

if TYPE_CHECKING:
    from triptych.data import Dataset

FIRST_SEED = 1_000_000  # far from the seeds whose pictures are shown during training
MOST_REAL = 10_000  # test pictures; of a larger test split a seeded choice
SURE = 0.9
PARAMETERS: dict[str, dict[str, int | float | str]] = {
    "FID": {"ddof": 1},
    "KID": {"degree": DEGREE, "coef": COEF, "gamma": "1/d", "estimator": "unbiased, full sets"},
    "precision": {"k": PRECISION_K},
    "recall": {"k": PRECISION_K},
    "density": {"k": DENSITY_K},
    "coverage": {"k": DENSITY_K},
}
SplitName = Literal["test", "selection", "report"]
VERSIONS = dict.fromkeys(METRICS, neighbours.VERSION) | {"FID": frechet.VERSION, "KID": kernel.VERSION}
Progress = Callable[[str, int, int], None]  # (what: "judge" or "samples", done, in all)


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class ClassView(_Record):
    """What the judge takes the samples for. Shares are of all samples, in the order of the classes."""

    names: tuple[str, ...]
    sure: float
    """Share of samples that the judge gives one class a probability above 0.9."""
    sure_real: float
    """The same of the test pictures."""
    shares: tuple[float, ...]
    """Share of samples in each class, by the judge's first choice."""
    shares_real: tuple[float, ...]
    """The same of the test pictures."""


class Sampling(_Record):
    """How the samples were drawn, and how long that took."""

    n: int
    first_seed: int
    batch: int
    seconds: float
    seconds_per_sample: float
    device: str


class JudgeFacts(_Record):
    """Who judged."""

    name: str
    hash: str
    width: int
    accuracy: float | None


class Evaluation(Sealed, _Record):
    """One evaluation of a model: what `metrics.jsonl` holds a line of."""

    scores: tuple[Score, ...]
    classes: ClassView | None
    sampling: Sampling
    judge: JudgeFacts
    step: int | None
    made: str
    """When, in UTC."""

    def called(self) -> str:
        """What a sentence calls it."""
        return f"the evaluation made {self.made}"


def evaluate(
    model: Model | Path | str,
    samples: int = 2000,
    features: str | Extractor = "auto",
    **options: Any,
) -> list[Score]:
    """Score a model; like `evaluation`, which see for the options, but returns the scores alone."""
    return list(evaluation(model, samples, features, **options).scores)


def evaluation(
    model: Model | Path | str,
    samples: int = 2000,
    features: str | Extractor = "auto",
    *,
    data: Dataset | None = None,
    controls: Mapping[str, Any] | None = None,
    first_seed: int = FIRST_SEED,
    most_real: int = MOST_REAL,
    progress: Progress | None = None,
) -> Evaluation:
    """Draw samples and score them against the test split of the data the model was trained on.

    model: a Model, or the path of a run. samples: how many to draw, at least 20. features: "auto"
    (the source's own classifier, or the random network where there are no labels), "domain-cnn",
    "random-conv", a published network such as "inception" (see `judge_for`) or an Extractor. data: the
    source, where the run cannot find it by itself. controls: sampling options, else the family's
    defaults. most_real: of a larger test split a seeded choice of so many. Writes one line to the
    run's metrics.jsonl. Raises ValueError if the data are not those of the run, for too few samples,
    unknown features or controls.
    """
    model = model if isinstance(model, Model) else load(model)
    enough(samples)
    dataset = data_of(model, data)
    judge = (
        features
        if not isinstance(features, str)
        else trained_judge(dataset, features, progress, model.device)
    )
    drawn = draw(model, samples, first_seed, controls or {}, progress)
    return judged(model, dataset, judge, drawn, "test", most_real)


def enough(samples: int) -> None:
    """Raises ValueError for fewer samples than an interval needs."""
    if samples < LEAST:
        raise ValueError(f"a score with an interval needs at least {LEAST} samples, got {samples}")


@dataclass(frozen=True)
class Drawn:
    """Samples of a model and how they came to be."""

    pixels: np.ndarray  # (N, H, W, C) uint8
    sampling: Sampling
    about: dict[str, Any]  # the descriptive fields of their scores' cards


def judged(
    model: Model,
    dataset: Dataset,
    judge: Extractor,
    drawn: Drawn,
    split: SplitName = "test",
    most_real: int = MOST_REAL,
) -> Evaluation:
    """Score drawn samples against a split's real pictures, and write one line to the run's metrics.jsonl.

    split: "test", or its fixed halves "selection" (choose by it) and "report" (then quote this one).
    """
    real = chosen(held_out(dataset, split), most_real)
    scores = score_pixels(
        real,
        drawn.pixels,
        judge,
        train=chosen(dataset.train.pixels, len(drawn.pixels)),
        data=dataset.fingerprint,
        split=split if split == "test" else f"{split} half of test",
        about=drawn.about,
    )
    own_classes = judge.classes > 0 and judge.classes == dataset.spec.classes  # and not ImageNet's
    made = Evaluation(
        scores=tuple(scores),
        classes=class_view(real, drawn.pixels, judge, dataset.class_names) if own_classes else None,
        sampling=drawn.sampling,
        judge=JudgeFacts(name=judge.name, hash=judge.hash, width=judge.width, accuracy=judge.accuracy),
        step=drawn.about["step"],
        made=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    if model.run is not None:
        model.run.append_metrics(made.model_dump(mode="json"))
    return made


def held_out(dataset: Dataset, split: SplitName) -> np.ndarray:
    """The test pictures, or one of two fixed halves that share none: (N, H, W, C) uint8."""
    if split == "test":
        return dataset.test.pixels
    order = np.random.default_rng(0).permutation(len(dataset.test))
    half = order[: len(order) // 2] if split == "selection" else order[len(order) // 2 :]
    return np.asarray(dataset.test.pixels[np.sort(half)])


def score_pixels(
    real: np.ndarray,
    fake: np.ndarray,
    extractor: Extractor,
    *,
    train: np.ndarray | None = None,
    data: str | None = None,
    split: str = "given",
    about: Mapping[str, Any] | None = None,
) -> list[Score]:
    """FID, KID, precision, recall, density and coverage of two sets of pictures, with intervals.

    real: (N, H, W, C), fake: (M, H, W, C) uint8, at least 20 each. train: other real pictures for the
    floor, as many as there are fakes where possible; without them no floor. data: fingerprint of the
    real pictures (made from them, whatever their order, if not given). about: descriptive fields of
    the card. Raises ValueError on pictures of another size than the extractor's and on too few.
    """
    real_features, fake_features = extractor(real), extractor(fake)
    found = estimates(real_features, fake_features)
    floors = _floors(real_features, extractor(train)) if train is not None else {}
    fingerprint = data if data is not None else pictures_fingerprint(real)
    scores = []
    for metric in METRICS:
        card = Card(
            metric=metric,
            parameters=PARAMETERS[metric],
            data=fingerprint,
            split=split,
            n_real=len(real),
            n_fake=len(fake),
            extractor=extractor.name,
            extractor_hash=extractor.hash,
            resize=extractor.resize,
            version=VERSIONS[metric],
            **(about or {}),
        )
        notes = _notes(metric, card, extractor, fake_features, None if train is None else len(train))
        scores.append(_score(found[metric], card, floors.get(metric), train, notes))
    return scores


def class_view(
    real: np.ndarray, fake: np.ndarray, judge: Extractor, names: tuple[str, ...] | list[str] | None
) -> ClassView:
    """How sure the judge is of the samples, and which classes it sees. real, fake: (N, H, W, C) uint8."""

    def facts(pixels: np.ndarray) -> tuple[float, tuple[float, ...]]:
        p = judge.probabilities(pixels)  # (N, classes)
        counts = np.bincount(p.argmax(1), minlength=judge.classes)
        return float((p.max(1) > SURE).mean()), tuple((counts / len(p)).tolist())

    (sure, shares), (sure_real, shares_real) = facts(fake), facts(real)
    labels = tuple(names) if names else tuple(str(i) for i in range(judge.classes))
    return ClassView(names=labels, sure=sure, sure_real=sure_real, shares=shares, shares_real=shares_real)


def chosen(pixels: np.ndarray, count: int) -> np.ndarray:
    """`count` pictures by a fixed seed, in their order in the source; all of them if there are fewer."""
    if len(pixels) <= count:
        return np.asarray(pixels)
    rows = np.random.default_rng(0).choice(len(pixels), count, replace=False)
    return np.asarray(pixels[np.sort(rows)])


def pictures_fingerprint(pixels: np.ndarray) -> str:
    """A name for a set of pictures, (N, H, W, C) uint8, that does not depend on their order."""
    each = sorted(hashlib.sha256(picture.tobytes()).digest() for picture in np.ascontiguousarray(pixels))
    return hashlib.sha256(f"{pixels.shape[1:]}".encode() + b"".join(each)).hexdigest()


def _score(
    found: Estimate, card: Card, floor: float | None, train: np.ndarray | None, notes: tuple[str, ...]
) -> Score:
    better: Literal["lower", "higher"] = "lower" if card.metric in ("FID", "KID") else "higher"
    return Score(
        name=f"{card.metric}[{card.extractor}]",
        value=found.value,
        low=found.low,
        high=found.high,
        method=found.method,
        floor=floor,
        floor_n=None if train is None else len(train),
        better=better,
        target="population" if card.metric == "KID" else "expectation",
        spread=found.spread,
        share_of=found.share_of,
        notes=notes,
        card=card,
    )


@one_thread()
def _floors(real: np.ndarray, train: np.ndarray) -> dict[str, float]:
    """Each score of training features in place of the samples'."""
    return {"FID": fid(real, train), "KID": kid(real, train), **neighbour_scores(real, train)}


def _notes(
    metric: str, card: Card, extractor: Extractor, fake: np.ndarray, floor_n: int | None
) -> tuple[str, ...]:
    notes = []
    fewest = min(card.n_real, card.n_fake)
    if metric == "FID" and fewest <= extractor.width:
        notes.append(
            f"{fewest} pictures for {extractor.width} features: mostly bias, look at the floor and at KID"
        )
    if floor_n is not None and floor_n < card.n_fake:
        notes.append(f"the floor is of {floor_n} training pictures, all there are")
    if extractor.accuracy is not None and extractor.accuracy < SURE:
        notes.append(f"the judge is right about {extractor.accuracy:.0%} of the test pictures")
    if bool((fake == fake[0]).all()):
        notes.append("all samples have the same features")
    return tuple(notes)


def trained_judge(
    dataset: Dataset,
    features: str = "auto",
    progress: Progress | None = None,
    device: torch.device | str = "cpu",
) -> Extractor:
    """The judge of a source, with its training's progress told as "judge"."""
    told = None if progress is None else (lambda done, total: progress("judge", done, total))
    return judge_for(dataset, features, told, device)


def data_of(model: Model, given: Dataset | None = None) -> Dataset:
    """The source to measure against: the one given or the run's own, if it is what the run saw."""
    if model.run is None:
        if given is None:
            raise ValueError("this model belongs to no run: say what to measure it against with data=...")
        return given
    named = model.run.card["data"]
    dataset = given
    if dataset is None:
        from triptych import data

        dataset = data.load(named["source"], size=named["size"], colour=named.get("colour", "auto"))
    if dataset.fingerprint != named["fingerprint"]:
        raise ValueError(
            f"{dataset.name} is not what {model.run.path} was trained on (fingerprint "
            f"{dataset.fingerprint[:12]}, was {named['fingerprint'][:12]}): bring the old pictures back, "
            "or train again"
        )
    return dataset


def draw(
    model: Model,
    count: int,
    first_seed: int = FIRST_SEED,
    controls: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Drawn:
    """Draw `count` samples, at least 20, from consecutive seeds.

    Always whole batches, the last one cut: a sample's bits then depend on its seed alone.
    """
    enough(count)
    controls, parts = controls or {}, []
    began = time.perf_counter()
    for start in range(0, count, SAMPLING_BATCH):
        first = first_seed + start
        parts.append(model.sample(range(first, first + SAMPLING_BATCH), **controls))
        if progress is not None:
            progress("samples", min(start + SAMPLING_BATCH, count), count)
    seconds = time.perf_counter() - began
    drawn = len(parts) * SAMPLING_BATCH
    facts = Sampling(
        n=count,
        first_seed=first_seed,
        batch=SAMPLING_BATCH,
        seconds=seconds,
        seconds_per_sample=seconds / drawn,
        device=str(model.device),
    )
    return Drawn(np.concatenate(parts)[:count], facts, _about(model, first_seed, count, controls))


def _about(model: Model, first_seed: int, count: int, controls: Mapping[str, Any]) -> dict[str, Any]:
    """The descriptive fields of the card."""
    settings = model.family.Controls(**controls)
    by_law = "drawn by the training data's class law" if model.family.conditional else "none"
    return {
        "family": model.family.title,
        "run": model.run.path.name if model.run is not None else "",
        "controls": settings.model_dump(mode="json"),
        "weights": getattr(model, "weights", "averaged"),
        "step": getattr(model, "step", None),
        "seeds": f"{first_seed}-{first_seed + count - 1}",
        "labels": by_law,
        "versions": {"triptych": __version__, "torch": torch.__version__, "numpy": np.__version__},
    }


def score_sources(real: str, fake: str, features: str = "auto", size: int | None = None) -> list[Score]:
    """Score one source of pictures against another, all of both: `evaluate --real DIR --fake DIR`.

    size: side in pixels of both; None takes the real source's. A classifier is trained where the real
    source has labels, else the fixed random network judges. Raises DataError or UsageError for sources
    that cannot be used.
    """
    from triptych.data import load as load_data

    truth = load_data(real, size=size)
    colour: Literal["grey", "rgb"] = "grey" if truth.spec.channels == 1 else "rgb"
    made = load_data(fake, size=truth.spec.size, colour=colour)
    judge = judge_for(truth, features)
    whole = [np.concatenate([source.train.pixels, source.test.pixels]) for source in (truth, made)]
    return score_pixels(whole[0], whole[1], judge, split="all", about={"run": fake})
