"""A diagnosis as one HTML page that needs nothing else: figures as SVG, no script, no network."""

from __future__ import annotations

from normwise.report.diagnosis_page import diagnosis_page
from normwise.report.html import _environment
from normwise.report.palette import SLOTS
from normwise.results.diagnosis import Diagnosis


def diagnosis_to_html(diagnosis: Diagnosis) -> str:
    """Return a diagnosis as one self-contained HTML page.

    Raises:
        MissingPackageError: jinja2 or matplotlib is not installed.
    """
    template = _environment().get_template("diagnosis.html.j2")
    return str(template.render(page=diagnosis_page(diagnosis), slots=SLOTS))
