"""What no tool can do without: read the five planes, write the three of the output, with astropy and nothing else."""

import sys

import numpy as np
from astropy.io import fits

science, template, difference, output = sys.argv[1:]
planes = []
for path, extensions in ((science, ("VARIANCE", "MASK")), (template, ("VARIANCE", "MASK")), (difference, (0,))):
    with fits.open(path) as hdus:
        for extension in extensions:
            data = hdus[extension].data
            planes.append(np.ascontiguousarray(data, dtype=data.dtype.newbyteorder("=")))
variance, mask, image = planes[0], planes[1], planes[4]
images = [
    fits.ImageHDU(image, name="IMAGE"),
    fits.ImageHDU(mask, name="MASK"),
    fits.ImageHDU(variance, name="VARIANCE"),
]
fits.HDUList([fits.PrimaryHDU(), *images]).writeto(output, overwrite=True)
