"""``hundredfold report``: one page on whatever a run holds."""

from __future__ import annotations

from hundredfold.config import ReportSettings, verb
from hundredfold.progress import say
from hundredfold.rundir import RunDirectory
from hundredfold.url import put

__all__ = ["report"]


@verb(ReportSettings)
def report(settings: ReportSettings) -> RunDirectory:
    """Write ``RUN/report.html`` and ``RUN/figures``; an earlier report is replaced.

    Raises:
        RunMissingError: there is no run at ``settings.run``.
        SettingsError: a prevalence is of no class with test images, or they do not make 1.
    """
    from hundredfold.report.html import write_report

    run = RunDirectory.open(settings.run)
    with run.stage("report", settings=None, resume=True):
        page = write_report(run, settings.prevalences)
    say(f"Report: {page}")
    if settings.copy_to is not None:
        put(page, settings.copy_to / page.name)
        say(f"Copied to {settings.copy_to / page.name}")
    return run
