"""Tables of sources, read and written in the forms that astropy knows."""

from __future__ import annotations

import os
import re
import warnings
from typing import TYPE_CHECKING

from diffim_decorr.errors import InputError, UsageError
from diffim_decorr.io.atomic import whole_file

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = ("check_table_name", "read_table", "write_table")

# What the ending of a name says of the form.
_FORMS = {
    "ecsv": "ascii.ecsv",
    "csv": "ascii.csv",
    "fits": "fits",
    "fit": "fits",
    "vot": "votable",
    "votable": "votable",
    "xml": "votable",
}
_KNOWN = ".ecsv, .csv, .fits, .vot or .xml"


def check_table_name(path: str) -> str:
    """The form of a table by the ending of its name.

    Raises
    ------
    UsageError
        If that is none that is known.
    """
    match = re.search(r"\.([a-z]+)$", os.path.basename(path), flags=re.IGNORECASE)
    form = _FORMS.get(match[1].lower()) if match else None
    if form is None:
        raise UsageError(f"{path}: the ending says no form of a table that is known ({_KNOWN})")
    return form


def write_table(path: str, table: Table, overwrite: bool) -> None:
    """Write a table, whole or not at all, in the form that the ending of its name says.

    Raises
    ------
    UsageError
        If the form is not known, or nothing can be written there.
    OSError
        Naming the table, if it cannot be written to its end.
    """
    form = check_table_name(path)
    with whole_file(path, overwrite) as temporary, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of units and descriptions that a form does not have
        if form == "fits":
            from astropy.io import fits

            hdus = fits.HDUList([fits.PrimaryHDU(), fits.table_to_hdu(table)])
            hdus.writeto(temporary, overwrite=True, checksum=True)
        else:
            table.write(temporary, format=form, overwrite=True)


def read_table(path: str) -> Table:
    """Read a table.

    Raises
    ------
    InputError
        If there is none, or it cannot be read.
    """
    from astropy.table import Table

    form = check_table_name(path)
    if not os.path.isfile(path):
        raise InputError(f"{path}: no such file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return Table.read(path, format=form)
    except Exception as error:  # each form has errors of its own
        raise InputError(f"{path}: cannot be read as a table ({' '.join(str(error).split())[:200]})") from error
