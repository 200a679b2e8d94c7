"""What the pixels of a mask mean: named planes, or the bits and codes of surveys' data quality arrays."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from diffim_decorr.errors import InputError, UsageError
from diffim_decorr.geometry import Box
from diffim_decorr.images.masks import unsigned
from diffim_decorr.images.planes import DerivedPlane, Plane
from diffim_decorr.io.hdus import hdu_label, holds_integers

__all__ = ("bit_flags", "named_planes")

Array = NDArray[Any]

# What the bits of a data quality array mean, where we know, under the names of LSST's planes where one fits.
# JWST: jwst pipeline documentation, "Data Quality Flags". DO_NOT_USE is set wherever something makes a pixel useless.
_JWST_DQ = {
    0: "BAD",
    1: "SAT",
    2: "JUMP_DET",
    3: "DROPOUT",
    4: "OUTLIER",
    5: "PERSISTENCE",
    9: "NON_SCIENCE",
    10: "DEAD",
    11: "HOT",
    12: "WARM",
}
# HST: ACS and WFC3 data handbooks. A pixel lost in transmission, one filled in for it, a bad detector pixel, one behind
# the aperture's edge, hot, unstable, warm, bad bias, saturated, bad flat, charge trap, A/D saturation, and cosmic rays
# found by AstroDrizzle and in CR-SPLIT exposures.
_ACS_DQ = {
    0: "NO_DATA",
    1: "NO_DATA",
    2: "BAD",
    3: "BAD",
    4: "HOT",
    5: "UNSTABLE",
    6: "WARM",
    7: "BAD_BIAS",
    8: "SAT",
    9: "BAD_FLAT",
    10: "TRAP",
    11: "SAT",
    12: "CR",
    13: "CR",
}
# The infrared channel counts differently: signal in the zeroth read, and cosmic rays that the ramp fit has removed.
_WFC3_IR_DQ = {**_ACS_DQ, 11: "ZERO_SIGNAL", 13: "JUMP_DET"}
# ZTF Science Data System, section 10.3. Bits 1 and 11 are sources, no defects.
_ZTF_DQ = {
    0: "STREAK",
    1: "DETECTED",
    2: "BAD",
    3: "BAD",
    4: "BAD",
    5: "GHOST",
    6: "GHOST",
    7: "CR",
    8: "SAT",
    9: "BAD",
    10: "NO_DATA",
    11: "SOURCE",
    12: "HALO",
}
# NOIRLab Community Pipelines, data quality masks: bits before version 3.5, later one of several codes in a pixel. A
# bleed trail is saturated too; a transient, or what differs from other exposures, is no defect.
_NOIRLAB_DQ = {0: "BAD", 1: "SAT", 2: "INTRP", 4: "CR", 6: "SAT", 7: "TRANSIENT"}
_NOIRLAB_CODES = {1: "BAD", 2: "NO_DATA", 3: "SAT", 4: "SAT", 5: "CR", 6: "LOW_WEIGHT", 7: "TRANSIENT", 8: "STREAK"}
# DES image masks, despyfits' "maskbits": bad pixel map, saturated, interpolated, no signal, cosmic ray, near a bright
# star, bleed trails, crosstalk of a saturated source, edge, satellite trail, doubtful, corrected, near the edge, tape.
_DES_MSK = {
    0: "BAD",
    1: "SAT",
    2: "INTRP",
    3: "BAD",
    4: "CR",
    5: "STAR",
    6: "SAT",
    7: "SAT",
    8: "CROSSTALK",
    9: "EDGE",
    10: "STREAK",
    11: "SUSPECT",
    12: "FIXED",
    13: "NEAR_EDGE",
    14: "TAPE_BUMP",
}
# Gemini, DRAGONS' definitions of DQ.
_GEMINI_DQ = {0: "BAD", 1: "NONLINEAR", 2: "SAT", 3: "CR", 4: "NO_DATA", 5: "OVERLAP", 6: "UNILLUMINATED"}
# LCO's BANZAI: bad pixel map, saturated, low quality, cosmic ray.
_BANZAI_BPM = {0: "BAD", 1: "SAT", 2: "BAD", 3: "CR"}
# delta, output mask: bad, saturated, cosmic ray, not finite, frame border and footprint, and the user's own. Those of
# inputs are grown by the kernel.
_DELTA_MASK = {0: "BAD", 1: "SAT", 2: "CR", 3: "NO_DATA", 4: "EDGE", 5: "BAD"}
# HOTPANTS' output mask (-omi): FLAG_OUTPUT_ISBAD; the other bits are remarks about the inputs.
_HOTPANTS_MASK = "HOTPANTS OUTPUT MASK IMAGE"
_HOTPANTS_BAD = {15: "BAD"}

# Names that cards give to planes for what LSST's planes have been called so far. LSST's files of 2026 (lsst.images):
_LSST_NAMES = {"SATURATED": "SAT", "INTERPOLATED": "INTRP", "COSMIC_RAY": "CR", "DETECTION_EDGE": "EDGE"}
# SPHEREx, header of FLAGS: data lost on board, overflows, errors of processing on board, pixels that are permanently
# unusable, jumps in the ramp. SOURCE and FULLSAMPLE are no defects.
_SPHEREX_NAMES = {
    "MISSING_DATA": "NO_DATA",
    "OVERFLOW": "SAT",
    "SUR_ERROR": "BAD",
    "NONFUNC": "BAD",
    "TRANSIENT": "CR",
}
# Pan-STARRS, header of its masks: defects of the detector and of its calibration, and what has no data.
_PS1_NAMES = {
    "DETECTOR": "BAD",
    "FLAT": "BAD",
    "DARK": "BAD",
    "CTE": "BAD",
    "LOW": "BAD",
    "BLANK": "NO_DATA",
    "CONV.BAD": "BAD",
}

_SAMPLE = 1 << 20  # pixels
_MOST_LISTED = 8


def bit_flags(text: str | int) -> int:
    """The bits that a user selects, as a number; negative if all but some are.

    Parameters
    ----------
    text
        Values of bits, powers of 2, with commas or plus signs between them, or their sum; ``~`` before them takes all
        others.

    Raises
    ------
    UsageError
        If it is nothing of that.

    Examples
    --------
    >>> bit_flags("1,4,16") == bit_flags("21") == 21
    True
    >>> bit_flags("~4") & 0b1111
    11
    """
    from astropy.nddata.bitmask import interpret_bit_flags

    try:
        flags = interpret_bit_flags(text)
    except (ValueError, TypeError) as error:
        cause = " ".join(str(error).split())
        raise UsageError(f"dq_bad = {text!r} is no selection of bits such as 1,4,16 or ~2 ({cause})") from error
    if flags is None or flags == 0 or not -(2**63) <= flags < 2**63:
        raise UsageError(f"dq_bad = {text!r} selects no bits, which would be 1, 2, 4 and so on")
    return int(flags)


def named_planes(
    plane: Plane, path: str, hdus: fits.HDUList, hdu: Any, bad_bits: int | None, remarks: list[str]
) -> tuple[Plane, dict[str, int]]:
    """A mask of named planes where the file says what its bits mean, otherwise one where all but zero is BAD.

    Parameters
    ----------
    plane
        The mask's pixels.
    path, hdus, hdu
        Where they come from.
    bad_bits
        Bits that make a pixel BAD, and are all that counts, in a mask that does not name its planes.
    remarks
        Takes what a user should know.
    """
    label = hdu_label(path, hdus, hdu)
    if not holds_integers(hdu):
        plane = DerivedPlane(plane, _whole)
    named = _plane_cards(hdu, label)
    if named:
        unnamed = _bits_in(_sampled(plane)) - set(named)
        if unnamed:
            remarks.append(
                f"{label}: its header has no name for the bits {_listed(unnamed)} of its pixels, which are not used "
                "(a card MP_BAD and the like would name one)"
            )
        return _renamed(plane, named)
    headers = (hdu.header, hdus[0].header)
    codes = _codes(headers)
    if bad_bits is not None:
        if codes:
            raise InputError(f"{label}: a pixel of this mask holds one code, no bits that could be selected")
        return DerivedPlane(plane, partial(_any_of, bits=bad_bits)), {"BAD": 0}
    if codes:
        planes = _first_of_each(codes)
        return DerivedPlane(plane, partial(_of_codes, meanings=codes, planes=planes)), planes
    meanings = _bits(hdu, headers)
    if meanings:
        planes = _first_of_each(meanings)
        return DerivedPlane(plane, partial(_regrouped, meanings=meanings, planes=planes)), planes
    remarks += _unknown(_sampled(plane), label)
    return DerivedPlane(plane, _nonzero), {"BAD": 0}


def _first_of_each(meanings: dict[int, str]) -> dict[str, int]:
    """The first bit, or code, of each plane, which becomes the bit of all."""
    planes: dict[str, int] = {}
    for number, name in meanings.items():
        planes.setdefault(name, number)
    return planes


def _renamed(plane: Plane, named: dict[int, str]) -> tuple[Plane, dict[str, int]]:
    """A mask whose planes are called as those of LSST, as far as they are the same."""
    if "SUR_ERROR" in named.values():
        named = {bit: _SPHEREX_NAMES.get(name, name) for bit, name in named.items()}
    planes = _first_of_each(named)
    if len(planes) == len(named):
        return plane, planes
    return DerivedPlane(plane, partial(_regrouped, meanings=named, planes=planes)), planes


def _sampled(plane: Plane) -> Array:
    """Some rows all over a mask."""
    ny, nx = plane.shape
    return unsigned(plane.read_every(Box(0, 0, nx, ny), (max(1, ny * nx // _SAMPLE), 1)))


def _bits_in(mask: Array) -> set[int]:
    together = int(np.bitwise_or.reduce(mask, axis=None))
    return {bit for bit in range(together.bit_length()) if together >> bit & 1}


def _listed(bits: set[int]) -> str:
    """Values of bits."""
    shown = ", ".join(str(1 << bit) for bit in sorted(bits)[:_MOST_LISTED])
    return shown + ("…" if len(bits) > _MOST_LISTED else "")


def _unknown(mask: Array, label: str) -> Iterator[str]:
    """What to say of a mask of which nothing is known."""
    flagged = mask[mask != 0]
    if not flagged.size:
        return
    if (flagged != flagged[0]).any():
        yield (
            f"{label}: it is not known what its bits {_listed(_bits_in(flagged))} mean: every pixel but 0 is BAD, "
            f"{flagged.size / mask.size:.2g} of all (--dq-bad selects bits)"
        )
    if flagged.size > 0.5 * mask.size:
        yield (
            f"{label}: {flagged.size / mask.size:.2g} of its pixels are not 0, and so BAD: should 0 mark bad pixels in "
            "it, give a mask in which it marks good ones"
        )


def _plane_cards(hdu: Any, label: str) -> dict[int, str]:
    """What cards call the bits: ``MP_name`` with a number, or a name in MSKNnnnn (MSKNAMnn) and a value in MSKMnnnn
    (MSKVALnn).
    """
    names: dict[int, str] = {}
    for card in hdu.header.cards:
        keyword = card.keyword.upper()
        numbered = re.fullmatch(r"MSK(N|NAM)(\d+)", keyword)
        if keyword.startswith("MP_"):
            names.setdefault(_bit(card.value, keyword, label), keyword[3:])
        elif numbered:
            pan_starrs = numbered.group(1) == "NAM"
            value_card = f"{'MSKVAL' if pan_starrs else 'MSKM'}{numbered.group(2)}"
            name = str(card.value).strip().upper()
            if pan_starrs and name.endswith(".VALUE"):
                continue  # no bit but several, or a mark for internal use
            value = hdu.header.get(value_card)
            if isinstance(value, bool) or not isinstance(value, int) or value <= 0 or value & (value - 1):
                raise InputError(f"{label}: card {value_card} = {value!r} is not the value of a bit, a power of 2")
            known = _PS1_NAMES if pan_starrs else _LSST_NAMES
            names.setdefault(_bit(value.bit_length() - 1, value_card, label), known.get(name, name).replace(".", "_"))
    return names


def _bit(value: Any, keyword: str, label: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 32:
        raise InputError(f"{label}: card {keyword} = {value!r} is not a bit number from 0 to 31")
    return value


def _text(headers: tuple[fits.Header, ...], key: str) -> str:
    return next((str(header[key]).strip().upper() for header in headers if key in header), "")


def _codes(headers: tuple[fits.Header, ...]) -> dict[int, str] | None:
    return _NOIRLAB_CODES if _text(headers, "PRODTYPE") == "DQMASK" and not _has_bits(headers) else None


def _has_bits(headers: tuple[fits.Header, ...]) -> bool:
    """Whether a mask of the Community Pipelines is older than their version 3.5."""
    version = re.search(r"(\d+)\.(\d+)", _text(headers, "PLVER"))
    return version is not None and (int(version.group(1)), int(version.group(2))) < (3, 5)


def _bits(hdu: Any, headers: tuple[fits.Header, ...]) -> dict[int, str] | None:
    if _text(headers[:1], "OBJECT") == _HOTPANTS_MASK:
        return _HOTPANTS_BAD
    if hdu.name == "MASK" and "DLTBETA" in headers[1]:
        return _DELTA_MASK
    if _text(headers, "PRODTYPE") == "DQMASK":
        return _NOIRLAB_DQ
    comments = [str(hdu.header.comments[key]).upper() if key in hdu.header else "" for key in ("BIT02", "BIT08")]
    if "RESPONSIVITY" in comments[0] and "SATUR" in comments[1]:
        return _ZTF_DQ
    telescope, instrument, detector = (_text(headers[1:], key) for key in ("TELESCOP", "INSTRUME", "DETECTOR"))
    if hdu.name == "MSK":
        return _DES_MSK
    if hdu.name == "BPM" and (_text(headers[1:], "ORIGIN").startswith("LCO") or "L1IDMASK" in headers[1]):
        return _BANZAI_BPM
    if hdu.name != "DQ":
        return None
    if telescope.startswith("GEMINI"):
        return _GEMINI_DQ
    if telescope == "JWST":
        return _JWST_DQ
    if telescope == "HST" and instrument in ("ACS", "WFC3"):
        return _WFC3_IR_DQ if detector == "IR" else _ACS_DQ
    return None


def _regrouped(dq: Array, meanings: dict[int, str], planes: dict[str, int]) -> Array:
    mask = np.zeros(dq.shape, dtype=np.int32)
    for bit, name in meanings.items():
        # Types of few bits have none of the others.
        if bit < 8 * dq.dtype.itemsize:
            mask |= ((dq >> dq.dtype.type(bit)) & dq.dtype.type(1)).astype(np.int32) << planes[name]
    return mask


def _of_codes(dq: Array, meanings: dict[int, str], planes: dict[str, int]) -> Array:
    # A code of which nothing is known is bad.
    unknown = max(meanings) + 1
    table = np.zeros(unknown + 1, dtype=np.int32)
    for code, name in meanings.items():
        table[code] = 1 << planes[name]
    table[unknown] = 1 << planes["BAD"]
    return table[np.where((dq >= 0) & (dq < unknown), dq, unknown).astype(np.intp)]


def _any_of(dq: Array, bits: int) -> Array:
    # A boolean has one bit, and unsigned numbers keep all theirs.
    bad: Array = ((dq.astype(np.int64) & np.int64(bits)) != 0).astype(np.int32)
    return bad


def _whole(mask: Array) -> Array:
    # A pixel of which nothing is known has every flag.
    with np.errstate(invalid="ignore"):
        return np.where(np.abs(mask) < 2.0**63, mask, -1).astype(np.int64)


def _nonzero(mask: Array) -> Array:
    bad: Array = (mask != 0).astype(np.int32)
    return bad
