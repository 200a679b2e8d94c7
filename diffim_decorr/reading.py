"""From names of files and options to the subtraction that they describe."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from diffim_decorr.difference.subtraction import Subtraction, refuse_second_time, subtraction_of
from diffim_decorr.errors import InputError, UsageError
from diffim_decorr.io.atomic import check_output
from diffim_decorr.io.exposures import load_exposure
from diffim_decorr.io.extensions import at_extension, psf_of
from diffim_decorr.io.hdus import split_spec
from diffim_decorr.io.kernels.registry import kernel_inside, load_kernel
from diffim_decorr.io.output.layouts import output_path, output_paths
from diffim_decorr.io.psfs import read_psf, said_to_be_psf
from diffim_decorr.io.stacks import input_files, read_inputs
from diffim_decorr.io.warps import read_warp
from diffim_decorr.options import InputOptions, Options, OutputOptions

__all__ = ("at_exposure", "checked_output", "files_read", "subtraction_from")


def subtraction_from(files: dict[str, str], inputs: InputOptions, options: Options) -> Subtraction:
    """The subtraction that files and options describe."""
    science, template = (
        load_exposure(
            files[role],
            **{name: getattr(inputs, f"{side}_{name}") for name in ("variance", "noise", "weight", "mask")},
            dq_bad=inputs.dq_bad,
        )
        for role, side in (("science", "sci"), ("template", "tmpl"))
    )
    science, template = (
        exposure.with_warps([read_warp(warp, exposure) for warp in warps]) if warps else exposure
        for exposure, warps in ((science, inputs.sci_warp), (template, inputs.tmpl_warp))
    )
    difference = load_exposure(files["difference"], mask=inputs.diff_mask, dq_bad=inputs.dq_bad, is_difference=True)
    refuse_second_time(difference)
    if inputs.dq_bad is not None and all(e.mask_planes != {"BAD": 0} for e in (science, template, difference)):
        difference.remarks += ("--dq-bad: all masks have names for their bits, or there are none",)
    shape, header = difference.shape, difference.header
    if inputs.kernel is None:
        kernel = kernel_inside(files["difference"], shape, header)
    else:
        kernel = load_kernel(inputs.kernel, shape, header, inputs.kernel_format)
        _refuse_psf(inputs)
    science_file = inputs.sci_kernel or inputs.pre_conv_kernel
    science_kernel = None
    if science_file is not None:
        science_kernel = load_kernel(science_file, difference.shape, format=inputs.sci_kernel_format)
    psf = None
    if inputs.psf is not None:
        psf = read_psf(psf_of(inputs.psf, (files["difference"], files["science"], files["template"])), difference.xy0)
    contributions = [] if inputs.inputs is None else read_inputs(inputs.inputs, difference.shape)
    warped = [c.name for c in contributions if c.exposure is not None and c.exposure.warps]
    if warped and options.noise != "local":
        raise UsageError(f"{warped[0]}: warp has a meaning with --noise local only")
    return subtraction_of(
        science,
        template,
        difference,
        kernel,
        options,
        psf=psf,
        science_kernel=science_kernel,
        contributions=contributions,
        realisations=(
            [load_exposure(file) for file in inputs.sci_noise_image or ()],
            [load_exposure(file) for file in inputs.tmpl_noise_image or ()],
        ),
    )


def _refuse_psf(inputs: InputOptions) -> None:
    """Refuse a PSF for the matching kernel, unless an image was convolved with it on purpose."""
    crossed = inputs.sci_kernel is not None or inputs.pre_conv_kernel is not None
    if inputs.kernel is None or crossed or inputs.kernel_format is not None:
        return
    said = said_to_be_psf(inputs.kernel)
    if said is not None:
        raise InputError(
            f"{inputs.kernel}: is a PSF by its card {said}, not a matching kernel: give the kernel that the matching "
            "program wrote, and this with --psf (if the template was convolved with it, --kernel-format image says so)"
        )


def checked_output(
    files: dict[str, str], inputs: InputOptions, options: Options, output: OutputOptions, guarded: Sequence[str]
) -> str:
    """Where the output goes, before anything is read that takes time."""
    if options.score and inputs.pre_conv_kernel is None:
        raise UsageError("--score needs --pre-conv-kernel")
    if output.write_background and options.background is None:
        raise UsageError("--write-background needs --background, without which no background is taken off")
    for side in ("sci", "tmpl"):
        if getattr(inputs, f"{side}_warp") and options.noise != "local":
            raise UsageError(f"--{side}-warp has a meaning with --noise local only")
        for kind in ("variance", "noise", "weight"):
            if getattr(options, f"{side}_gain") is not None and getattr(inputs, f"{side}_{kind}") is not None:
                raise UsageError(f"--{side}-gain and --{side}-{kind} exclude each other")
    read = files_read(files, inputs)
    path = output_path(output, files["difference"])
    for file in output_paths(path, output.layout):
        check_output(file, [*(split_spec(name)[0] for name in read), *guarded], output.overwrite)
    return path


def files_read(files: dict[str, str], inputs: InputOptions) -> list[str]:
    """The names of all files that a run reads, each once.

    Raises
    ------
    InputError
        If the list of images that were stacked cannot be read.
    """
    stacked = [] if inputs.inputs is None else input_files(inputs.inputs)
    return list(dict.fromkeys([*files.values(), *inputs.files, *stacked]))


def at_exposure(files: dict[str, str], inputs: InputOptions, extension: str) -> tuple[dict[str, str], InputOptions]:
    """The files of one exposure: the HDU of that name in the images, and in those of kernels that have it."""
    named = {role: f"{file}[{extension}]" if split_spec(file)[1] is None else file for role, file in files.items()}
    others = ("kernel", "sci_kernel", "pre_conv_kernel")
    given = {name: getattr(inputs, name) for name in others if getattr(inputs, name) is not None}
    own: dict[str, Any] = {name: at_extension(file, extension) for name, file in given.items()}
    for name in ("sci_noise_image", "tmpl_noise_image"):
        if getattr(inputs, name) is not None:
            own[name] = [at_extension(file, extension) for file in getattr(inputs, name)]
    for name in ("sci_warp", "tmpl_warp"):
        pairs = (warp.partition(":") for warp in getattr(inputs, name))
        own[name] = tuple(f"{kind}:{at_extension(native, extension)}" for kind, _, native in pairs)
    return named, replace(inputs, **own)
