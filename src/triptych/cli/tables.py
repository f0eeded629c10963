"""Scores as tables for the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from triptych.comparison.verdicts import Comparison
    from triptych.evaluation.records import Evaluation
    from triptych.metrics.score import Score


def print_scores(scores: Sequence[Score], title: str) -> None:
    """Print scores with their intervals, floors and notes to standard output.

    Args:
        scores: Of one evaluation.
        title: Of the table.
    """
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=escape(title), title_justify="left")
    for column in ("score", "value", "95% interval", "floor", "better"):
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
        what = "reconstructions" if "reconstructions" in card.labels else "samples"
        console.print(
            f"{card.n_fake} {what} against {card.n_real} real images; "
            "floor: the score of real training images"
        )
        console.print("95% intervals:")
    for method in dict.fromkeys(score.method for score in scores):
        names = ", ".join(score.card.metric for score in scores if score.method == method)
        console.print(escape(f"  {names}: {method}"))
    for note in notes:
        console.print(escape(f"note: {note}"))


def print_classes(scored: Evaluation) -> None:
    """Print how the domain classifier classifies the samples."""
    if scored.classes is None:
        return
    view = scored.classes
    what = "samples" if scored.reconstruction is None else "reconstructions"
    shares = ", ".join(f"{n} {share:.1%}" for n, share in zip(view.names, view.shares, strict=True))
    print(
        f"classified with confidence: {view.confident:.1%} of the {what} "
        f"(real images: {view.confident_real:.1%})\n"
        f"predicted classes: {shares}"
    )


def print_comparison(comparison: Comparison) -> None:
    """Print a ranking by each score, and the verdict on each pair."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    for ranking in comparison.rankings:
        table = Table(title=escape(f"{ranking.name}, {ranking.better} is better"), title_justify="left")
        for column in ("rank", "contestant", "value", "95% interval", "of"):
            table.add_column(column, justify="right" if column in ("value", "95% interval") else "left")
        for s in ranking.standings:
            place = str(s.best) if s.best == s.worst else f"{s.best}-{s.worst}"
            interval = f"{s.low:.4g} to {s.high:.4g}"
            table.add_row(place, escape(s.label), f"{s.value:.4g}", interval, escape(s.claim))
        console.print(table)
        for verdict in ranking.verdicts:
            console.print(escape(verdict.sentence), soft_wrap=True)
        if len(ranking.verdicts) > 1:
            count = len(ranking.verdicts)
            console.print(
                f"95% is the joint confidence of the intervals of all {count} differences", soft_wrap=True
            )
        for note in ranking.notes:
            console.print(escape(f"note: {note}"), soft_wrap=True)
    for note in comparison.notes:
        console.print(escape(f"note: {note}"), soft_wrap=True)


def print_details(scored: Evaluation) -> None:
    """Print what a detailed evaluation found beside its scores."""
    if scored.reconstruction is not None:
        print(scored.reconstruction.sentence())
    details = scored.detailed
    if details is None:
        return
    if details.memorization is None:
        print("memorization: not measured, as held-out images are among the training images")
    else:
        authentic = details.memorization.authenticity
        print(f"memorization: {details.memorization.summary}")
        print(f"authenticity: {authentic.value:.1%} [{authentic.low:.1%}, {authentic.high:.1%}]")
    if details.diversity is not None:
        modes = details.diversity.modes
        print(f"classes covered: {modes.covered} of {modes.total} (95%: {modes.low} to {modes.high})")
    if details.modes is not None:
        print(details.modes)
    if not any(score.card.metric == "bits/dim" for score in scored.scores):
        print("likelihood: none, this is an implicit model")
    if details.latent_geometry is not None:
        geometry = details.latent_geometry
        print(
            f"sharpness: {geometry.sharpness:.3g} (real images: {geometry.sharpness_real:.3g}); path length "
            f"of a latent interpolation in features: {geometry.path_ratio:.3g} times the straight line's"
        )
    if details.ground_truth is not None:
        t = details.ground_truth
        print(
            f"true precision {t.precision:.1%} [{t.precision_low:.1%}, {t.precision_high:.1%}], "
            f"true recall {t.recall:.1%} [{t.recall_low:.1%}, {t.recall_high:.1%}]"
        )
