"""The kit's findings as tables: for the terminal, and in markdown."""

from __future__ import annotations

from triptych.metrics.conformance.records import Agreement, Check, Conformance

CHECK = ("known answer", "from", "expected", "got", "tolerance", "")
PEER = ("peer", "metric", "vectors", "ours", "theirs", "")


def print_conformance(found: Conformance) -> None:
    """Print checks, agreements and the verdict to standard output."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    for heads, rows in (
        (CHECK, [_check(c) for c in found.checks]),
        (PEER, [_peer(a) for a in found.agreements]),
    ):
        table = Table(*heads)
        for row in rows:
            table.add_row(*row)
        console.print(table)
    for why in dict.fromkeys(f"{a.peer}, {a.verdict}: {a.why}" for a in found.agreements if a.why):
        console.print(why, markup=False)
    console.print(verdict(found))


def verdict(found: Conformance) -> str:
    """In one sentence."""
    passed = sum(check.passed for check in found.checks)
    counts: dict[str, int] = {}
    for agreement in found.agreements:
        counts[agreement.verdict] = counts.get(agreement.verdict, 0) + 1
    peers = ", ".join(f"{count} {word}" for word, count in counts.items())
    return f"{passed} of {len(found.checks)} known answers met; with peers: {peers}"


def markdown(found: Conformance) -> str:
    """Both tables, and what they were made with."""
    versions = ", ".join(f"{name} {version}" for name, version in found.versions.items())
    parts = [verdict(found), f"({versions})", "", *_table(CHECK, [_check(c) for c in found.checks]), ""]
    parts += _table((*PEER, "why"), [(*_peer(a), a.why) for a in found.agreements])
    return "\n".join(parts) + "\n"


def _table(heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    lines = [heads, tuple("---" for _ in heads), *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]


def _check(check: Check) -> tuple[str, ...]:
    return (
        check.name,
        check.why,
        f"{check.expected:.10g}",
        f"{check.got:.10g}",
        f"{check.tolerance:g}",
        "pass" if check.passed else "FAIL",
    )


def _peer(agreement: Agreement) -> tuple[str, ...]:
    numbers = ["-" if x is None else f"{x:.10g}" for x in (agreement.ours, agreement.theirs)]
    name = f"{agreement.peer} {agreement.version}".strip()
    return (name, agreement.metric, agreement.vectors, *numbers, agreement.verdict)
