"""Figures that servers measured of a version, added to its report. The job's own figures never change."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from service.engine.decisions import Decisions

END_OF_PAGE = b"</main>"


def serving(noted: Sequence[Decisions]) -> list[dict[str, Any]]:
    """The figures of each tier and precision that was checked, for programs, with a sentence for people."""
    return [{**found.model_dump(mode="json"), "holds": found.holds, "sentence": _sentence(found)} for found in noted]


def with_serving(page: bytes, noted: Sequence[Decisions]) -> bytes:
    """The page with a section on the figures at its end; unchanged where there are none, or no page."""
    if not noted or END_OF_PAGE not in page:
        return page
    rows = "".join(f"<tr><td>{escape(f.runs)}</td><td>{escape(_sentence(f))}</td></tr>" for f in noted)
    section = (
        '<section><h2>Served</h2><p class="dim">Decisions on held-out examples, against fp32. Intervals hold 95 %.</p>'
        f"<table>{rows}</table></section>"
    )
    head, _, rest = page.rpartition(END_OF_PAGE)
    return head + section.encode() + END_OF_PAGE + rest


def _sentence(found: Decisions) -> str:
    verdict = f"does not hold: {found.problem}" if found.problem else "holds"
    return f"{found.sentence()}; it {verdict}"
