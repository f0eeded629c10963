"""Tables of the conformance results, for the terminal and in Markdown."""

from __future__ import annotations

from triptych.metrics.conformance.records import Agreement, Check, Conformance

CHECK = ("known answer", "from", "expected", "got", "tolerance", "")
PEER = ("peer", "metric", "vectors", "ours", "theirs", "")


def print_conformance(result: Conformance) -> None:
    """Print checks, agreements and the verdict to standard output."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    for headers, rows in (
        (CHECK, [_check(c) for c in result.checks]),
        (PEER, [_peer(a) for a in result.agreements]),
    ):
        table = Table(*headers)
        for row in rows:
            table.add_row(*row)
        console.print(table)
    for why in dict.fromkeys(f"{a.peer}, {a.verdict}: {a.why}" for a in result.agreements if a.why):
        console.print(why, markup=False)
    console.print(verdict(result))


def verdict(result: Conformance) -> str:
    """Summary in one sentence."""
    passed = sum(check.passed for check in result.checks)
    counts: dict[str, int] = {}
    for agreement in result.agreements:
        counts[agreement.verdict] = counts.get(agreement.verdict, 0) + 1
    peers = ", ".join(f"{count} {word}" for word, count in counts.items())
    return f"{passed} of {len(result.checks)} known answers met; other libraries: {peers}"


def markdown(result: Conformance) -> str:
    """Both tables in Markdown, with the versions of the libraries."""
    versions = ", ".join(f"{name} {version}" for name, version in result.versions.items())
    parts = [verdict(result), f"({versions})", "", *_table(CHECK, [_check(c) for c in result.checks]), ""]
    parts += _table((*PEER, "why"), [(*_peer(a), a.why) for a in result.agreements])
    return "\n".join(parts) + "\n"


def _table(headers: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    lines = [headers, tuple("---" for _ in headers), *rows]
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
