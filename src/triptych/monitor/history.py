"""A run's past as the watch reads it: everything on the grid of the looks, medians between them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from triptych.monitor import thresholds as limits

Records = Sequence[Mapping[str, Any]]


class TrainingHistory:
    """Series of what was logged and seen, one value a look, and how long a sign has lasted.

    log: log lines. looks: lines of watch.jsonl. planned: steps of the whole run.
    """

    def __init__(self, log: Records, looks: Records, planned: int) -> None:
        seen = [look for look in looks if "modes" in look]
        self.first = seen[0] if seen and seen[0]["step"] == 0 else None  # the untrained generator's look
        self.looks = seen[1:] if self.first else seen
        self.log, self.planned = log, planned
        self.steps = np.array([look["step"] for look in self.looks], dtype=np.int64)
        self.failures = [look for look in looks if "failure" in look]
        ends = np.array([line["step"] for line in log], dtype=np.int64)
        self._places = np.searchsorted(self.steps, ends)  # the look that sums a log line up

    def __len__(self) -> int:
        return len(self.looks)

    def seen(self, name: str) -> np.ndarray:
        """A number of every look, nan where it is missing."""
        return np.array([_number(look.get(name)) for look in self.looks])

    def steady(self, name: str) -> np.ndarray:
        """The median of a number in the three looks up to each: for what a single look is too few samples."""
        values = self.poorness if name == "poorness" else self.seen(name)
        return np.array([np.median(values[max(0, k - 2) : k + 1]) for k in range(len(values))])

    def logged(self, name: str) -> np.ndarray:
        """The median of a logged value between two looks, on the looks' grid; nan where there is none."""
        return self._between(name, np.median)

    def peaks(self, name: str) -> np.ndarray:
        """The largest size of a logged value between two looks; nan where there is none."""
        return self._between(name, lambda values: np.abs(values).max())

    def _between(self, name: str, summary: Callable[[np.ndarray], Any]) -> np.ndarray:
        values = np.array([_number(line.get(name)) for line in self.log])
        found = np.full(len(self), np.nan)
        for k in range(len(self)):
            own = values[self._places == k] if len(values) else values
            own = own[~np.isnan(own)]
            found[k] = summary(own) if len(own) else np.nan
        return found

    def early(self, name: str) -> float:
        """The largest of the first few logged values: what later ones are measured with."""
        values = [_number(line.get(name)) for line in self.log]
        known = [v for v in values if math.isfinite(v)]
        return max(known[: max(3, len(known) // 20)], default=math.nan)

    def at_first(self, name: str) -> float:
        """The median of the first few logged values."""
        known = [v for line in self.log if math.isfinite(v := _number(line.get(name)))]
        return float(np.median(np.abs(known[: max(3, len(known) // 20)]))) if known else math.nan

    def weights(self, player: str) -> np.ndarray:
        """The probed weights of a player, (looks, probes); no columns where they are missing.

        In units of their own tensor before training, where the run has noted it: layers may be stored on
        scales that are thousands apart.
        """
        rows = [look.get("weights", {}).get(player, []) for look in self.looks]
        if not rows or len({len(row) for row in rows}) > 1:
            return np.zeros((len(rows), 0))
        return np.array(rows) / self._scales(player, len(rows[0]))

    def start(self, player: str) -> np.ndarray | None:
        """The probed weights of a player before training, in the same units."""
        found = (self.first or {}).get("weights", {}).get(player)
        return np.array(found) / self._scales(player, len(found)) if found else None

    def _scales(self, player: str, probes: int) -> np.ndarray:
        known = (self.first or {}).get("scales", {}).get(player, [])
        return np.array(known) if len(known) == probes else np.ones(probes)

    def strayed_weights(self, player: str) -> np.ndarray:
        """How far a player's weights lie from their start, beside its size: (looks,); nan where unknown."""
        start, weights = self.start(player), self.weights(player)
        if start is None or weights.shape[1] != len(start):
            return np.full(len(self), np.nan)
        size = max(float(np.linalg.norm(start)), 1e-30)
        return np.asarray(np.linalg.norm(weights - start, axis=1) / size)

    def now(self, values: np.ndarray) -> float:
        """The median of a series' last fifth."""
        tail = values[-max(3, round(limits.NOW * len(values))) :]
        tail = tail[~np.isnan(tail)]
        return float(np.median(tail)) if len(tail) else math.nan

    def lasting(
        self, sign: np.ndarray, warm_up: float = limits.WARM_UP, still: np.ndarray | None = None
    ) -> int | None:
        """The step since which a sign has held, if it holds now and has for long enough.

        sign: (looks,) bool. Looks in the run's first `warm_up` share do not count. still: (looks,) bool, what
        the sign leaves behind: one that has held for long enough counts as long as that has held ever since.
        """
        counts = sign & (self.steps > warm_up * self.planned)
        for end in range(len(sign), 0, -1):
            held = 0
            while held < end and counts[end - 1 - held]:
                held += 1
            if held >= self.patience:
                return int(self.steps[end - held])
            if still is None or not still[end - 1]:
                return None
        return None

    @property
    def patience(self) -> int:
        """Looks that a sign must last."""
        return max(limits.PERSISTS_LOOKS, round(limits.PERSISTS * self.looks_planned))

    @property
    def looks_planned(self) -> float:
        """How many looks the whole run will have, at their latest pace, as a run may be made longer."""
        between = float(np.median(np.diff(self.steps[-5:]))) if len(self) > 1 else float(self.planned)
        return self.planned / max(between, 1.0)

    @property
    def poorness(self) -> np.ndarray:
        """How far the pictures are on the way from real ones (0) back to the untrained generator's (1).

        The worse of two: a nearest neighbour's distance, which says little where pale pictures lie near
        everything, and the energy distance, which looks of older runs do not have.
        """
        distance, start = self.seen("distance"), self._untrained("distance")
        near = (distance - 1) / max(start - 1, 1.0) if math.isfinite(start) else (distance - 1) / 3
        far = self.seen("energy") / max(limits.APART, self._untrained("energy"))
        return np.asarray(np.fmax(near, far))

    def _untrained(self, name: str) -> float:
        return _number((self.first or {}).get(name))

    @property
    def begun(self) -> np.ndarray:
        """Looks after the pictures first left the untrained generator's behind, (looks,) bool."""
        late = self.steps > limits.BEGUN_STEPS
        away = (self.poorness < limits.BEGUN) | (self.poorness > limits.WORSE)
        left = np.logical_or.accumulate(away) if len(self) else late
        return np.asarray((left | late) & self.practised)

    @property
    def practised(self) -> np.ndarray:
        """Looks after moves enough of both players to have learnt something, (looks,) bool."""
        return self.practised_for(limits.FEWEST_TURNS)

    def practised_for(self, moves: int) -> np.ndarray:
        """Looks after so many moves of both players, (looks,) bool."""
        return np.array([_turns(look) >= moves for look in self.looks], dtype=bool)

    @property
    def strayed(self) -> np.ndarray:
        """Looks after the samples first lay elsewhere than the untrained generator's, (looks,) bool."""
        start = np.array((self.first or {}).get("sketch", []))
        places = [np.array(look.get("sketch", [])) for look in self.looks]
        known = [p.shape == start.shape and start.size > 0 for p in places]
        away = [
            k and bool(np.median(np.linalg.norm(p - start, axis=1)) > limits.STRAYED)
            for k, p in zip(known, places, strict=True)
        ]
        return np.logical_or.accumulate(np.array(away, dtype=bool))

    def growth(self, player: str) -> np.ndarray:
        """How fast a player's weights grew: beside their start, over the root of its moves, (looks,)."""
        start, weights = self.start(player), self.weights(player)
        if start is None or weights.shape[1] != len(start):
            return np.full(len(self), np.nan)
        sizes = np.sqrt(np.square(weights).mean(axis=1)) / max(float(np.sqrt(np.square(start).mean())), 1e-30)
        return np.asarray((sizes - 1) / np.sqrt(np.maximum(self.turns(player), 1)))

    def turns(self, player: str) -> np.ndarray:
        """How often a player has moved, (looks,); in looks of older runs, once a step."""
        return np.array([look.get("turns", {}).get(player, look["step"]) for look in self.looks])

    def moved(self, player: str) -> np.ndarray:
        """Whether a player had a turn since the look before, (looks,) bool."""
        return np.diff(self.turns(player), prepend=0) > 0

    @property
    def poor(self) -> np.ndarray:
        """Looks whose pictures are not like the data, (looks,) bool."""
        poorness = self.poorness  # pale pictures may cover others without being like them
        poor = (poorness > limits.POOR) & (self.seen("covered") < limits.UNCOVERED)
        return np.asarray(poor | (poorness > limits.BEGUN))


def _turns(look: Mapping[str, Any]) -> float:
    """The moves of the player that has made the fewest."""
    return float(min(look.get("turns", {}).values(), default=look["step"]))


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else math.nan
