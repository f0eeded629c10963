"""Verdicts on an adversarial training, and the sentences that give their evidence."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from triptych.core.objectives import AdversarialSpec
from triptych.monitor.history import TrainingHistory

Verdict = Literal[
    "healthy", "too early", "still learning", "poor image quality", "not assessed",
    "non-finite values", "divergence", "critic not learning", "generator not learning",
    "critic too strong", "mode collapse", "labels have no effect", "oscillation",
]  # fmt: skip


# verdicts that name no training problem: nothing found; too few observations; poor, but young or getting
# better; poor; nothing found, but not everything could be measured
NO_PROBLEM: tuple[Verdict, ...] = (
    "healthy", "too early", "still learning", "poor image quality", "not assessed",
)  # fmt: skip
PROBE_UNRELIABLE = (
    "the label probe assigns the samples to few of the classes, as it does with images without clear shapes"
)


@dataclass(frozen=True)
class Diagnosis:
    """What the GAN monitor says of a training."""

    verdict: Verdict
    since: int | None = None  # the step at which it began
    evidence: tuple[str, ...] = ()  # sentences with figures
    secondary: tuple[str, ...] = field(default=())  # other verdicts for which there are symptoms
    fatal: bool = False  # the training will not recover by itself
    clean: bool = False  # no symptom at all: a checkpoint worth rolling back to, whatever its quality

    @property
    def is_problem(self) -> bool:
        """Whether the verdict names a training problem."""
        return self.verdict not in NO_PROBLEM

    def summary(self) -> str:
        """One line: the verdict, with the first evidence of a problem, or all there is to say without one."""
        since = "" if self.since is None else f" since step {self.since:,}"
        evidence = "; ".join(self.evidence[:1] if self.is_problem else self.evidence)
        return f"{self.verdict}{since}" + (f": {evidence}" if evidence else "")


def critic_gap(history: TrainingHistory, spec: AdversarialSpec) -> np.ndarray | None:
    """Compute how far apart the critic's mean outputs on real images and fakes are.

    Args:
        history: The run so far.
        spec: The names of the two networks, and what the critic's output means.

    Returns:
        (T,), in probability; None for a critic of scores, which have no scale.
    """
    if spec.critic_output != "probabilities":
        return None
    return np.abs(history.logged(f"{spec.critic}/real") - history.logged(f"{spec.critic}/fake"))


def remaining_modes(history: TrainingHistory) -> str:
    """The classes, or else modes, that most samples are of, with their shares."""
    last = history.observations[-1]
    name, what = ("class_shares", "class") if "class_shares" in last else ("mode_shares", "mode")
    shares = last[name]
    largest = sorted(range(len(shares)), key=lambda k: -shares[k])[:4]
    return ", ".join(f"{what} {k} ({shares[k]:.0%} of the samples)" for k in largest if shares[k] > 0.02)


def critic_summary(history: TrainingHistory, spec: AdversarialSpec) -> str:
    """Describe the critic's recent mean outputs in a sentence.

    Args:
        history: The run so far.
        spec: The names of the two networks.

    Returns:
        The sentence, without a period.
    """
    real, fake = (
        history.recent_median(history.logged(f"{spec.critic}/{which}")) for which in ("real", "fake")
    )
    return f"the {spec.critic}'s mean output is {real:.3g} on real images and {fake:.3g} on fakes"


def sample_summary(history: TrainingHistory) -> str:
    """How near recent samples are to the data, and how much of it they cover, in a sentence."""
    distance = history.recent_median(history.values("data_distance"))
    coverage = history.recent_median(history.values("coverage"))
    energy = history.recent_median(history.values("energy_distance"))
    untrained = history.untrained or {}
    start = f" (untrained: {untrained['data_distance']:.2f})" if "data_distance" in untrained else ""
    whole = f", energy distance {energy:.2f}" if np.isfinite(energy) else ""
    if whole and "energy_distance" in untrained:
        whole += f" (untrained: {untrained['energy_distance']:.2f})"
    return (
        f"samples are {distance:.2f} times as far from the data as real images are{start}, and "
        f"{coverage:.0%} of the real images have a sample in their neighborhood{whole}"
    )
