"""Figures as files: pictures for a screen, vectors for a page and for print."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.figure import Figure

# Letters as letters, so that print is sharp at any size and text can be searched for; the same bytes each time.
PRINT: dict[Any, Any] = {"pdf.fonttype": 42, "svg.hashsalt": "gcp"}


def write_pdf(path: Path, figures: Iterable[Figure]) -> None:
    """A page for each figure, of its own size."""
    with rc_context(PRINT), PdfPages(path, metadata={"CreationDate": None}) as pages:
        for figure in figures:
            pages.savefig(figure)


def data_uri(figure: Figure) -> str:
    """The figure as the address of an image that holds all of it: SVG, in which a page can run nothing."""
    stream = io.BytesIO()
    with rc_context(PRINT):
        figure.savefig(stream, format="svg", metadata={"Date": None})
    return f"data:image/svg+xml;base64,{base64.b64encode(stream.getvalue()).decode()}"
