"""What is made of a result besides: a picture, a page, maps of the S/N of point sources."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from diffim_decorr.io.atomic import whole_file
from diffim_decorr.options import InputOptions, Options, QaOptions, SnrOptions

if TYPE_CHECKING:
    from diffim_decorr.assessment import Assessment
    from diffim_decorr.record import Record

__all__ = ("draw_result", "map_result", "write_pictures")


def write_pictures(assessment: Assessment, plot: str | None, report: str | None, overwrite: bool) -> None:
    """Write the picture and the page that are asked for."""
    # Imported late: both need what an extra installs.
    if plot is not None:
        from diffim_decorr.plots import draw_assessment

        with whole_file(plot, overwrite) as temporary:
            draw_assessment(assessment, temporary, plot.rpartition(".")[2].lower())
    if report is not None:
        from diffim_decorr.report.page import page_of

        with whole_file(report, overwrite) as temporary, open(temporary, "w", encoding="utf-8") as file:
            file.write(page_of(assessment))


def draw_result(
    path: str,
    images: Mapping[str, str],
    inputs: InputOptions,
    options: Options,
    plot: str | None,
    report: str | None,
    overwrite: bool,
) -> None:
    """Write the picture and the page on the result of a run that are asked for.

    Parameters
    ----------
    path
        The file that has its image.
    images
        What it was made of: science, template and difference.
    inputs, options
        Of the run.
    plot, report
        Where they go.
    overwrite
        Whether files that are there may be replaced.
    """
    from diffim_decorr.assessment import assess_file

    known = QaOptions(
        before=images["difference"],
        sci=images["science"],
        tmpl=images["template"],
        kernel=inputs.kernel,
        convolved=options.convolved,
        dq_bad=inputs.dq_bad,
    )
    write_pictures(assess_file(path, known), plot, report, overwrite)


def map_result(path: str, options: Options, maps: str, overwrite: bool) -> Record:
    """Write the maps of flux, error and S/N of the result of a run; its options say in how many threads."""
    from diffim_decorr.detect.maps import snr_file

    own = SnrOptions(threads=options.threads, max_memory=options.max_memory)
    return snr_file(path, own, output=maps, overwrite=overwrite)
