"""The history of a run as the GAN monitor reads it: one value per observation, log lines in between."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from triptych.monitor import thresholds as limits

Records = Sequence[Mapping[str, Any]]


class TrainingHistory:
    """Series of logged and observed values, one value per observation, and how long a symptom has lasted.

    Args:
        log: Lines of log.jsonl.
        observations: Lines of monitor.jsonl, with today's keys.
        total_steps: Planned for the whole run.

    Attributes:
        untrained: The observation of the untrained generator; None where there is none.
        observations: The others, in order.
        steps: (T,) int64, the step of each of these.
        failures: Records of non-finite values.
    """

    def __init__(self, log: Records, observations: Records, total_steps: int) -> None:
        measured = [record for record in observations if "modes" in record]
        self.untrained = measured[0] if measured and measured[0]["step"] == 0 else None
        self.observations = measured[1:] if self.untrained else measured
        self.log, self.total_steps = log, total_steps
        self.steps = np.array([record["step"] for record in self.observations], dtype=np.int64)
        self.failures = [record for record in observations if "failure" in record]
        ends = np.array([line["step"] for line in log], dtype=np.int64)
        self._places = np.searchsorted(self.steps, ends)  # the observation that a log line belongs to

    def __len__(self) -> int:
        return len(self.observations)

    def values(self, name: str) -> np.ndarray:
        """A number of every observation, (T,); NaN where it is missing."""
        return np.array([_number(record.get(name)) for record in self.observations])

    def smoothed(self, name: str) -> np.ndarray:
        """The median of a number over the three observations up to each, (T,): one alone is too noisy."""
        values = self.relative_distance if name == "relative_distance" else self.values(name)
        return np.array([np.median(values[max(0, k - 2) : k + 1]) for k in range(len(values))])

    def logged(self, name: str) -> np.ndarray:
        """The median of a logged value since the previous observation, (T,); NaN where there is none."""
        return self._between(name, np.median)

    def logged_peaks(self, name: str) -> np.ndarray:
        """The largest magnitude of a logged value since the previous observation, (T,); NaN for none."""
        return self._between(name, lambda values: np.abs(values).max())

    def _between(self, name: str, summary: Callable[[np.ndarray], Any]) -> np.ndarray:
        values = np.array([_number(line.get(name)) for line in self.log])
        series = np.full(len(self), np.nan)
        for k in range(len(self)):
            own = values[self._places == k] if len(values) else values
            own = own[~np.isnan(own)]
            series[k] = summary(own) if len(own) else np.nan
        return series

    def early_maximum(self, name: str) -> float:
        """The largest of the first few logged values, which later ones are compared with."""
        values = [_number(line.get(name)) for line in self.log]
        known = [v for v in values if math.isfinite(v)]
        return max(known[: max(3, len(known) // 20)], default=math.nan)

    def early_median(self, name: str) -> float:
        """The median magnitude of the first few logged values."""
        known = [v for line in self.log if math.isfinite(v := _number(line.get(name)))]
        return float(np.median(np.abs(known[: max(3, len(known) // 20)]))) if known else math.nan

    def weights(self, network: str) -> np.ndarray:
        """The probed weights of a network, (T, probes); no columns where they are missing.

        Each is divided by the RMS of its tensor before training, where the run has recorded it: the scales of
        layers may differ by factors of thousands.
        """
        rows = [record.get("weight_probes", {}).get(network, []) for record in self.observations]
        if not rows or len({len(row) for row in rows}) > 1:
            return np.zeros((len(rows), 0))
        return np.array(rows) / self._scales(network, len(rows[0]))

    def initial_weights(self, network: str) -> np.ndarray | None:
        """The probed weights of a network before training, in the same units."""
        probes = (self.untrained or {}).get("weight_probes", {}).get(network)
        return np.array(probes) / self._scales(network, len(probes)) if probes else None

    def _scales(self, network: str, probes: int) -> np.ndarray:
        known = (self.untrained or {}).get("weight_scales", {}).get(network, [])
        return np.array(known) if len(known) == probes else np.ones(probes)

    def weight_displacement(self, network: str) -> np.ndarray:
        """Distance of a network's weights from their start, over its size: (T,); NaN where unknown."""
        start, weights = self.initial_weights(network), self.weights(network)
        if start is None or weights.shape[1] != len(start):
            return np.full(len(self), np.nan)
        size = max(float(np.linalg.norm(start)), 1e-30)
        return np.asarray(np.linalg.norm(weights - start, axis=1) / size)

    def recent_median(self, values: np.ndarray) -> float:
        """The median of a series' last fifth."""
        tail = values[-max(3, round(limits.RECENT_SHARE * len(values))) :]
        tail = tail[~np.isnan(tail)]
        return float(np.median(tail)) if len(tail) else math.nan

    def persists_since(
        self,
        symptom: np.ndarray,
        warmup: float = limits.WARMUP_SHARE,
        aftermath: np.ndarray | None = None,
    ) -> int | None:
        """Find the step since which a symptom has persisted.

        Args:
            symptom: (T,) bool.
            warmup: Share of the planned steps, 0 to 1, whose observations do not count.
            aftermath: (T,) bool, what the symptom leaves behind: one that has persisted for long enough
                counts as long as this has held ever since.

        Returns:
            The step; None if the symptom is absent now or has not lasted for long enough.
        """
        counts = symptom & (self.steps > warmup * self.total_steps)
        for end in range(len(symptom), 0, -1):
            lasted = 0
            while lasted < end and counts[end - 1 - lasted]:
                lasted += 1
            if lasted >= self.required_observations:
                return int(self.steps[end - lasted])
            if aftermath is None or not aftermath[end - 1]:
                return None
        return None

    @property
    def required_observations(self) -> int:
        """How many observations in a row a symptom must last."""
        return max(limits.MIN_PERSISTENCE, round(limits.PERSISTENCE_SHARE * self.planned_observations))

    @property
    def planned_observations(self) -> float:
        """Observations of the whole run at the latest interval, as a run may have been made longer."""
        last = float(np.median(np.diff(self.steps[-5:]))) if len(self) > 1 else float(self.total_steps)
        return self.total_steps / max(last, 1.0)

    @property
    def relative_distance(self) -> np.ndarray:
        """How far samples are from the data, from 0 (as real images) to 1 (as the untrained generator's).

        The larger of two: the distance to the nearest real image, which says little where low-contrast images
        are near everything, and the energy distance, which older runs have not recorded.
        """
        distance, start = self.values("data_distance"), self._untrained("data_distance")
        near = (distance - 1) / max(start - 1, 1.0) if math.isfinite(start) else (distance - 1) / 3
        energy = self.values("energy_distance")
        far = energy / max(limits.MIN_UNTRAINED_ENERGY, self._untrained("energy_distance"))
        return np.asarray(np.fmax(near, far))

    def _untrained(self, name: str) -> float:
        return _number((self.untrained or {}).get(name))

    @property
    def left_start(self) -> np.ndarray:
        """Observations since samples first differed clearly from the untrained generator's, (T,) bool."""
        late = self.steps > limits.LEFT_START_STEPS
        distance = self.relative_distance
        away = (distance < limits.LEFT_START) | (distance > limits.WORSE_THAN_UNTRAINED)
        left = np.logical_or.accumulate(away) if len(self) else late
        return np.asarray((left | late) & self.minimally_trained)

    @property
    def minimally_trained(self) -> np.ndarray:
        """Observations after enough updates of both networks to have learned something, (T,) bool."""
        return self.after_updates(limits.MIN_UPDATES)

    def after_updates(self, count: int) -> np.ndarray:
        """Observations after so many updates of both networks, (T,) bool."""
        return np.array([_fewest_updates(record) >= count for record in self.observations], dtype=bool)

    @property
    def samples_moved(self) -> np.ndarray:
        """Observations since the samples first lay elsewhere than the untrained ones, (T,) bool."""
        start = np.array((self.untrained or {}).get("projections", []))
        places = [np.array(record.get("projections", [])) for record in self.observations]
        known = [p.shape == start.shape and start.size > 0 for p in places]
        away = [
            k and bool(np.median(np.linalg.norm(p - start, axis=1)) > limits.SAMPLES_MOVED)
            for k, p in zip(known, places, strict=True)
        ]
        return np.logical_or.accumulate(np.array(away, dtype=bool))

    def weight_growth(self, network: str) -> np.ndarray:
        """Relative growth of a network's weights since the start, over the root of its updates, (T,)."""
        start, weights = self.initial_weights(network), self.weights(network)
        if start is None or weights.shape[1] != len(start):
            return np.full(len(self), np.nan)
        sizes = np.sqrt(np.square(weights).mean(axis=1)) / max(float(np.sqrt(np.square(start).mean())), 1e-30)
        return np.asarray((sizes - 1) / np.sqrt(np.maximum(self.updates(network), 1)))

    def updates(self, network: str) -> np.ndarray:
        """Updates of a network so far, (T,); in older runs one per step."""
        return np.array(
            [record.get("updates", {}).get(network, record["step"]) for record in self.observations]
        )

    def was_updated(self, network: str) -> np.ndarray:
        """Whether a network had an update since the previous observation, (T,) bool."""
        return np.diff(self.updates(network), prepend=0) > 0

    @property
    def far_from_data(self) -> np.ndarray:
        """Observations whose samples are unlike the data, (T,) bool."""
        distance = self.relative_distance  # low-contrast images may cover others without being like them
        far = (distance > limits.FAR_FROM_DATA) & (self.values("coverage") < limits.LOW_COVERAGE)
        return np.asarray(far | (distance > limits.LEFT_START))


def _fewest_updates(record: Mapping[str, Any]) -> float:
    """The updates of the network that has had the fewest."""
    return float(min(record.get("updates", {}).values(), default=record["step"]))


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else math.nan
