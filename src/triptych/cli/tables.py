"""Scores as a table for the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from triptych.comparison.ranking import Comparison
    from triptych.evaluation.records import Evaluation
    from triptych.metrics.score import Score


def print_scores(scores: Sequence[Score], title: str) -> None:
    """Print scores with their intervals, floors and notes to standard output."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=escape(title), title_justify="left")
    for column in ("score", "value", "95 % interval", "floor", "better"):
        table.add_column(column, justify="left" if column in ("score", "better") else "right")
    notes: list[str] = []
    for score in scores:
        notes += [note for note in score.notes if note not in notes]
        floor = "-" if score.floor is None else f"{score.floor:.4g}"
        interval = f"{score.low:.4g} to {score.high:.4g}"
        table.add_row(escape(score.name), f"{score.value:.4g}", interval, floor, score.better)
    console = Console()
    console.print(table)
    if scores:
        card = scores[0].card
        console.print(
            f"{card.n_fake} samples against {card.n_real} real pictures; intervals of 95 % by "
            f"{'; '.join(dict.fromkeys(score.method for score in scores))}; "
            "the floor is what real training pictures score"
        )
    for note in notes:
        console.print(escape(f"note: {note}"))


def print_classes(made: Evaluation) -> None:
    """Print what the judge takes the samples for."""
    if made.classes is None:
        return
    view = made.classes
    shares = ", ".join(f"{n} {share:.1%}" for n, share in zip(view.names, view.shares, strict=True))
    print(
        f"{view.confident:.1%} of the samples are one class for sure "
        f"(real pictures: {view.confident_real:.1%})"
    )
    print(f"classes: {shares}")


def print_comparison(found: Comparison) -> None:
    """Print the contestants by each score, and the verdict on each two."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    for ranking in found.rankings:
        table = Table(title=escape(f"{ranking.name}, {ranking.better} is better"), title_justify="left")
        for column in ("rank", "contestant", "value", "95 % interval", "of"):
            table.add_column(column, justify="right" if column in ("value", "95 % interval") else "left")
        for s in ranking.standings:
            place = str(s.best) if s.best == s.worst else f"{s.best}-{s.worst}"
            interval = f"{s.low:.4g} to {s.high:.4g}"
            table.add_row(place, escape(s.label), f"{s.value:.4g}", interval, escape(s.claim))
        console.print(table)
        for verdict in ranking.verdicts:
            console.print(escape(verdict.sentence), soft_wrap=True)
        if len(ranking.verdicts) > 1:
            count = len(ranking.verdicts)
            console.print(f"all {count} differences' intervals hold together with 95 %", soft_wrap=True)
        for note in ranking.notes:
            console.print(escape(f"note: {note}"), soft_wrap=True)
    for note in found.notes:
        console.print(escape(f"note: {note}"), soft_wrap=True)


def print_closer(made: Evaluation) -> None:
    """Print what a closer look found beside its scores."""
    found = made.detailed
    if found is None:
        return
    if found.memorization is None:
        print(
            "copies of training pictures: cannot be told, held-out pictures are among the training pictures"
        )
    else:
        authentic = found.memorization.authenticity
        print(f"copies of training pictures: {found.memorization.summary}")
        print(f"authentic: {authentic.value:.1%} [{authentic.low:.1%}, {authentic.high:.1%}]")
    if found.diversity is not None:
        modes = found.diversity.modes
        print(f"classes covered: {modes.covered} of {modes.total} (surely {modes.low} to {modes.high})")
    if found.modes is not None:
        print(found.modes)
    if not any(score.card.metric == "bits/dim" for score in made.scores):
        print("likelihood: implicit, this family cannot say how likely a picture is")
    if found.latent_geometry is not None:
        seen = found.latent_geometry
        print(
            f"sharpness {seen.sharpness:.3g} (real: {seen.sharpness_real:.3g}); a way through the noise is "
            f"{seen.path_ratio:.3g} times as long as straight"
        )
    if found.ground_truth is not None:
        t = found.ground_truth
        print(
            f"true precision {t.precision:.1%} [{t.precision_low:.1%}, {t.precision_high:.1%}], "
            f"true recall {t.recall:.1%} [{t.recall_low:.1%}, {t.recall_high:.1%}]"
        )
