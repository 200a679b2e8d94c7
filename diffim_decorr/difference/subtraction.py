"""The inputs of a run: checked, and brought into one frame, that of the arrays."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from diffim_decorr.difference.contributions import Contribution, total_kernels, weights_of
from diffim_decorr.difference.matching import MatchingKernel
from diffim_decorr.difference.programs import program_of, remedy_for_psf, whitened_by
from diffim_decorr.difference.roles import check_images, check_realisations, doubts
from diffim_decorr.errors import InputError, OptionError, UsageError
from diffim_decorr.geometry import Box
from diffim_decorr.images.exposure import Exposure
from diffim_decorr.images.union import MaskUnion
from diffim_decorr.images.units import working_unit
from diffim_decorr.kernels.spatial import SpatialKernel
from diffim_decorr.options import SIDES, Options
from diffim_decorr.record import MatchingFigures

__all__ = ("Subtraction", "refuse_second_time", "subtraction_of")

Array = NDArray[Any]

# The most that a kernel differs from a PSF, of its peak, if it is one.
_SAME = 1e-3
_MOST = 0.9
# Images in tiny units have kernels of large pixels, but none of which squares are beyond all numbers.
_LARGEST_PIXEL = 1e60


@dataclass(frozen=True, eq=False)
class Subtraction:
    """A difference, and what it was made of, in the pixel coordinates of the arrays.

    Parameters
    ----------
    science, template, difference
        The images, all of one shape.
    matching
        The matching kernel.
    sides
        What the science image and the template were convolved with.
    contributions
        The images that the difference is made of: science and template, or those of stacks.
    weights
        Of each in the stack of its side.
    kernels
        What each of them was convolved with in all.
    masks
        The union of the inputs' masks.
    point_source
        PSF of the image that was not convolved, and what the science image was convolved with; nothing if it is not
        known.
    remarks
        What a user should know of the inputs.
    unit
        By what the pixels have been multiplied, so that their squares fit single precision.
    """

    science: Exposure
    template: Exposure
    difference: Exposure
    matching: MatchingKernel
    sides: tuple[SpatialKernel, SpatialKernel]
    contributions: tuple[Contribution, ...]
    weights: tuple[float, ...]
    kernels: tuple[SpatialKernel, ...]
    masks: MaskUnion
    point_source: tuple[SpatialKernel, ...]
    remarks: tuple[str, ...] = ()
    unit: float = 1.0

    def in_working_unit(self) -> Subtraction:
        """The same in a unit in which it can be worked on; itself if it can be as it is."""
        unit = working_unit((self.science, self.template, self.difference))
        if unit == 1:
            return self
        exposures = (
            self.science,
            self.template,
            *(c.exposure for c in self.contributions if c.exposure is not None),
            *(image for c in self.contributions for image in c.realisations),
        )
        scaled = {id(exposure): exposure.scaled(unit) for exposure in exposures}
        contributions = tuple(
            replace(
                c,
                exposure=None if c.exposure is None else scaled[id(c.exposure)],
                noise=None if c.noise is None else c.noise * unit,
                realisations=tuple(scaled[id(image)] for image in c.realisations),
            )
            for c in self.contributions
        )
        return replace(
            self,
            science=scaled[id(self.science)],
            template=scaled[id(self.template)],
            difference=self.difference.scaled(unit),
            contributions=contributions,
            unit=unit,
        )

    @property
    def shape(self) -> tuple[int, int]:
        """(ny, nx)"""
        return self.difference.shape

    def place_of_constant(self, options: Options) -> tuple[float, float] | None:
        """Where the kernels are taken for a ψ that is the same everywhere; None if it varies.

        Raises
        ------
        InputError
            If there is no matching kernel at the place that was asked for.
        """
        if options.spatial:
            return None
        ny, nx = self.shape
        boxes = self.matching.kernel.boxes
        x, y = options.kernel_at or ((nx - 1) / 2, (ny - 1) / 2)
        if not boxes or any(box.contains(x, y) for box in boxes):
            return x, y
        if options.kernel_at is not None:
            raise InputError(f"{self.matching.name}: none of its {len(boxes)} regions has the position {x:g} {y:g}")
        # The centre was only the usual choice: as good as the next place that has a kernel.
        near = [(min(max(x, box.x0), box.x1 - 1), min(max(y, box.y0), box.y1 - 1)) for box in boxes]
        return min(near, key=lambda place: (place[0] - x) ** 2 + (place[1] - y) ** 2)

    def figures(self, options: Options) -> MatchingFigures:
        """What is to be recorded of the matching kernel."""
        sides = {options.convolved or side or "template" for side in self.matching.convolved}
        convolved = sides.pop() if len(sides) == 1 else "by region"
        return MatchingFigures(self.matching.format, convolved, self.place_of_constant(options))


def subtraction_of(
    science: Exposure,
    template: Exposure,
    difference: Exposure,
    kernel: MatchingKernel | SpatialKernel,
    options: Options,
    *,
    psf: ArrayLike | SpatialKernel | None = None,
    science_kernel: MatchingKernel | SpatialKernel | None = None,
    contributions: Sequence[Contribution] = (),
    realisations: tuple[Sequence[Exposure], Sequence[Exposure]] = ((), ()),
) -> Subtraction:
    """Check that the inputs fit together; see `decorrelate` for the parameters.

    Raises
    ------
    InputError
        If they do not.
    """
    refuse_second_time(difference)
    matching = _placed(kernel, difference)
    own = None if science_kernel is None else _placed(science_kernel, difference).kernel
    if options.score:
        if own is None:
            raise UsageError("a score image needs the kernel of the pre-convolution (--pre-conv-kernel)")
        # The difference was pre-convolved with the PSF's reflection: it is a correlation with the PSF.
        own = _reflected(own)
    placed = tuple(c if c.kernel is None else replace(c, kernel=_placed(c.kernel, difference)) for c in contributions)
    if placed and any(realisations):
        raise UsageError("noise images are of the science image or the template, not of images that were stacked")
    contributions = placed or _ordinary(science, template, options, realisations)
    _check(science, template, difference, matching, options, contributions)
    doubt = None if own is not None else _psf_as_kernel(science, template, difference, matching, psf)
    images = {"science": science, "template": template, "difference": difference}
    check_images(images)
    check_realisations(images, [image for c in contributions for image in c.realisations])
    sides = matching.sides(options.convolved, own)
    return Subtraction(
        science,
        template,
        difference,
        matching,
        sides,
        contributions,
        weights_of(contributions),
        total_kernels(contributions, sides),
        MaskUnion.of((difference, science, template)),
        _point_source(science, template, matching, options, psf, own),
        (
            *_remarks(science, template, difference, matching, options),
            *(() if doubt is None else (doubt,)),
            *doubts(images, sides),
            *(() if psf is not None else _psf_remarks(science, template, matching, options)),
            *(
                f"--{name.replace('_', '-')} is not used: the images of a stack have noise figures of their own"
                for name, own in (("svar", None), ("tvar", None), ("sci_gain", science), ("tmpl_gain", template))
                if placed and getattr(options, name) is not None
                if own is None or all(c.exposure is not own for c in placed)
            ),
        ),
    )


def refuse_second_time(exposure: Exposure) -> None:
    """Refuse an image that a run or its kernel has been applied to already."""
    if "DCVERS" in (exposure.header or {}):
        raise InputError(f"{exposure.name}: has been decorrelated already (it has a card DCVERS)")


def _placed(kernel: MatchingKernel | SpatialKernel, difference: Exposure) -> MatchingKernel:
    """A kernel in the pixel coordinates of the arrays."""
    matching = MatchingKernel(kernel) if isinstance(kernel, SpatialKernel) else kernel
    return matching.placed(difference.xy0)


def _reflected(kernel: SpatialKernel) -> SpatialKernel:
    """The kernel whose convolution is the correlation with this one."""
    odd = np.pad(kernel.basis, [(0, 0), *((0, 1 - n % 2) for n in kernel.shape)])
    return SpatialKernel(odd[:, ::-1, ::-1], kernel.coefficients, kernel.field)


def _ordinary(
    science: Exposure,
    template: Exposure,
    options: Options,
    realisations: tuple[Sequence[Exposure], Sequence[Exposure]],
) -> tuple[Contribution, ...]:
    """A science image and a template."""
    given = [None if variance is None else variance**0.5 for variance in (options.svar, options.tvar)]
    return tuple(
        Contribution(side, image, noise=noise, name=image.name, realisations=tuple(own))
        for side, image, noise, own in zip(SIDES, (science, template), given, realisations, strict=True)
    )


def _point_source(
    science: Exposure,
    template: Exposure,
    matching: MatchingKernel,
    options: Options,
    given: ArrayLike | SpatialKernel | None,
    science_kernel: SpatialKernel | None,
) -> tuple[SpatialKernel, ...]:
    """PSF of the difference: that of the image that was not convolved, or of the pre-convolved science image."""
    unconvolved = _unconvolved(science, template, matching, options)
    if given is None and unconvolved is not None:
        given = unconvolved.psf
    if given is None and options.score and science_kernel is not None:
        given = _reflected(science_kernel)
    if given is None:
        return ()
    psf = given if isinstance(given, SpatialKernel) else SpatialKernel.constant(given)
    return (psf,) if science_kernel is None else (psf, science_kernel)


def _unconvolved(science: Exposure, template: Exposure, matching: MatchingKernel, options: Options) -> Exposure | None:
    """The image that was not convolved, if it is the same all over the field."""
    sides = {options.convolved or side or "template" for side in matching.convolved}
    if len(sides) > 1:
        return None
    return template if sides == {"science"} else science


def _psf_remarks(science: Exposure, template: Exposure, matching: MatchingKernel, options: Options) -> Iterator[str]:
    """Why the PSF of the result is not known, if it could have been."""
    exposure = _unconvolved(science, template, matching, options)
    if exposure is not None and exposure.psf is None and exposure.psf_fault is not None:
        yield f"{exposure.psf_fault}; the result has no PSF (--psf FILE gives one)"


def _check(
    science: Exposure,
    template: Exposure,
    difference: Exposure,
    kernel: MatchingKernel,
    options: Options,
    contributions: Sequence[Contribution],
) -> None:
    ny, nx = difference.shape
    given = [c.exposure for c in contributions if c.exposure is not None]
    given += [image for c in contributions for image in c.realisations]
    for exposure in (science, template, *given):
        if exposure.shape != difference.shape:
            mine, its = (f"{e.shape[1]} x {e.shape[0]}" for e in (exposure, difference))
            raise InputError(f"{exposure.name}: has {mine} pixels, but the difference {difference.name} has {its}")
        if (0, 0) not in (exposure.xy0, difference.xy0) and exposure.xy0 != difference.xy0:
            raise InputError(
                f"{exposure.name}: begins at {exposure.xy0} of its parent frame, but the difference "
                f"{difference.name} at {difference.xy0}"
            )
    for side in ("science", "template"):
        if not any(contribution.side == side for contribution in contributions):
            raise InputError(f"there is no contribution on the {side} side")
    height, width = kernel.kernel.shape
    if height > ny or width > nx or (height, width) == (ny, nx):
        raise InputError(
            f"{kernel.name}: has {width} x {height} pixels, the images {nx} x {ny}: an image as large is no matching "
            "kernel; give the kernel that the matching program wrote"
        )
    _check_size(kernel, Box(0, 0, nx, ny))
    flux = _largest_sum(kernel, (ny, nx))
    if not flux > 0:
        raise InputError(
            f"{kernel.name}: the sum of the matching kernel is {flux:.3g}, not above 0: a kernel that "
            "matches keeps the sign of the flux; check the file, or change the kernel's sign"
        )
    if options.kernel_at is not None:
        x, y = options.kernel_at
        if not (-0.5 <= x < nx - 0.5 and -0.5 <= y < ny - 0.5):
            frame = "" if difference.xy0 == (0, 0) else ", counted from the first pixel and not in the parent frame"
            raise OptionError(f"{{kernel_at}} {x:g} {y:g} lies outside the image of {nx} x {ny} pixels{frame}")


def _psf_as_kernel(
    science: Exposure,
    template: Exposure,
    difference: Exposure,
    matching: MatchingKernel,
    given: ArrayLike | SpatialKernel | None,
) -> str | None:
    """What to say of a matching kernel that is the PSF of an input.

    Only where an image is convolved with the other one's PSF is that right, and then neither of them goes without.

    Raises
    ------
    InputError
        If the program that made the difference does not do so.
    """
    if not matching.kernel.is_constant:
        return None
    ny, nx = difference.shape
    place = ((nx - 1) / 2, (ny - 1) / 2)
    kernel = matching.kernel.at(*place)
    psfs = {"--psf": given, science.name: science.psf, template.name: template.psf}
    for name, psf in psfs.items():
        if psf is None or not _are_alike(kernel, psf.at(*place) if isinstance(psf, SpatialKernel) else np.asarray(psf)):
            continue
        what = f"{matching.name}: the matching kernel is the PSF of {name}"
        program = program_of(difference.header)
        if program is not None:
            raise InputError(f"{what}, but the difference was made by {program}; {remedy_for_psf(program)}")
        return f"{what}: give the kernel that matches the PSFs (if an image was convolved with it, disregard this)"
    return None


def _are_alike(kernel: Array, psf: Array) -> bool:
    """Whether two images, with their centres at (h // 2, w // 2), are the same but for a factor and their margins."""
    half = [min(a // 2, b // 2, (a - 1) // 2, (b - 1) // 2) for a, b in zip(kernel.shape, psf.shape, strict=True)]
    both = []
    for image in (kernel, psf):
        y, x = (length // 2 for length in image.shape)
        inner = image[y - half[0] : y + half[0] + 1, x - half[1] : x + half[1] + 1]
        # Of a single pixel, or of what is cut off, nothing can be told.
        if not inner.sum() > _MOST * image.sum() > 0 or inner.max() > _MOST * inner.sum():
            return False
        both.append(inner / inner.sum())
    return bool(np.abs(both[0] - both[1]).max() <= _SAME * both[1].max())


def _check_size(kernel: MatchingKernel, field: Box) -> None:
    """Refuse what is finite in the file, but not at the corners of the field, or of a region, once it is squared."""
    spatial = kernel.kernel
    for box in spatial.boxes or (kernel.field or field,):
        for x, y in itertools.product((box.x0, box.x1 - 1), (box.y0, box.y1 - 1)):
            largest = np.abs(spatial.at(x, y)).max()
            if not largest < _LARGEST_PIXEL:
                raise InputError(
                    f"{kernel.name}: has pixels of {largest:.3g} at x {x}, y {y}, which no matching kernel has: the "
                    "file is damaged"
                )


def _largest_sum(kernel: MatchingKernel, shape: tuple[int, int]) -> float:
    """The largest sum of the kernel in the middle of the field, or of any of its regions; rounding errors are 0."""
    spatial = kernel.kernel
    places = [((box.x0 + box.x1 - 1) / 2, (box.y0 + box.y1 - 1) / 2) for box in spatial.boxes]
    places = places or [((shape[1] - 1) / 2, (shape[0] - 1) / 2)]
    images = [spatial.at(x, y) for x, y in places]
    return max(float(image.sum()) if abs(image.sum()) > 1e-9 * np.abs(image).sum() else 0.0 for image in images)


def _remarks(
    science: Exposure, template: Exposure, difference: Exposure, matching: MatchingKernel, options: Options
) -> Iterator[str]:
    """What a user should know of the inputs."""
    exposures = (science, template, difference)
    for source in (*exposures, matching):
        yield from source.remarks
    whitened = whitened_by(difference.header)
    if whitened is not None:
        yield (
            f"{difference.name}: has been decorrelated already by {whitened[0]} (card {whitened[1]}); give the "
            "difference as it was subtracted"
        )
    known = {name for exposure in exposures for name in exposure.mask_planes}
    listed = f"there are {', '.join(sorted(known))}" if known else "there are none at all"
    for name in ("bad_planes", "replace_planes"):
        for plane in options.changed().get(name, ()):
            if plane not in known:
                yield f"--{name.replace('_', '-')}: no mask has a plane {plane}; {listed}"
    place = None if options.spatial or options.kernel_at else ((n - 1) / 2 for n in difference.shape[::-1])
    if place is not None:
        x, y = place
        boxes = matching.kernel.boxes
        if boxes and not any(box.contains(x, y) for box in boxes):
            yield (
                f"{matching.name}: the centre of the image lies in none of its {len(boxes)} regions; the nearest place "
                "that does is taken (--kernel-at chooses another, --spatial follows the kernel everywhere)"
            )
