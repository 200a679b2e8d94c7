"""Archives of the LSST stack, written by the rules of that format."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

__all__ = ("KERNEL", "Archive", "Schema")

#: Columns of a table as (name, TFORM, TCCLS).
Schema = tuple[tuple[str, str, str], ...]
KERNEL: Schema = tuple((f"{name}_{axis}", "1J", "Scalar") for name in ("dimensions", "center") for axis in "xy")


@dataclass
class Archive:
    """An archive as afw's OutputArchive makes it: equal layouts share a table, numbers are given on the way in."""

    index: list[tuple[Any, ...]] = field(default_factory=list)
    schemas: list[Schema] = field(default_factory=list)
    rows: list[list[dict[str, Any]]] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    version: int = 3

    def put(self, kind: str, schema: Schema, values: Callable[[], dict[str, Any]]) -> int:
        number = len(self.names) + 1
        self.names.append(kind)
        if schema not in self.schemas:
            self.schemas.append(schema)
            self.rows.append([])
        table = self.schemas.index(schema)
        row = values()  # the objects within come first
        self.index.append((number, table + 1, 0, len(self.rows[table]), 1, kind, "lsst.afw.math"))
        self.rows[table].append(row)
        return number

    def shape(self, width: int, height: int, centre: tuple[int, int]) -> dict[str, Any]:
        return {"dimensions_x": width, "dimensions_y": height, "center_x": centre[0], "center_y": centre[1]}

    def fixed(self, image: np.ndarray, centre: tuple[int, int] | None = None) -> int:
        height, width = image.shape
        # afw's default.
        centre = ((width - 1) // 2, (height - 1) // 2) if centre is None else centre
        schema = (*KERNEL, ("image", f"{image.size}D", "Array"))
        return self.put("FixedKernel", schema, lambda: self.shape(width, height, centre) | {"image": np.ravel(image)})

    def delta(self, width: int, height: int, x: int, y: int) -> int:
        schema = (*KERNEL, ("pixel_x", "1J", "Scalar"), ("pixel_y", "1J", "Scalar"))
        centre = (width - 1) // 2, (height - 1) // 2
        return self.put(
            "DeltaFunctionKernel", schema, lambda: self.shape(width, height, centre) | {"pixel_x": x, "pixel_y": y}
        )

    def polynomial(self, coefficients: list[float]) -> int:
        schema = (("coefficients", f"{len(coefficients)}D", "Array"),)
        return self.put("PolynomialFunction2D", schema, lambda: {"coefficients": coefficients})

    def chebyshev(self, coefficients: list[float], low: tuple[float, float], high: tuple[float, float]) -> int:
        ends = [(f"{end}_{axis}", "1D", "Scalar") for end in ("min", "max") for axis in "xy"]
        schema = (("coefficients", f"{len(coefficients)}D", "Array"), *ends)
        values = dict(zip([name for name, *_ in ends], (*low, *high), strict=True))
        return self.put("Chebyshev1Function2D", schema, lambda: {"coefficients": coefficients} | values)

    def combination(
        self,
        parts: list[Callable[[], int]],
        functions: list[Callable[[], int]] | None = None,
        amplitudes: list[float] | None = None,
        size: tuple[int, int] = (5, 3),
    ) -> int:
        width, height = size
        components = ("components", f"{len(parts)}J", "Array")
        shape = self.shape(width, height, ((width - 1) // 2, (height - 1) // 2))
        if functions is None:
            assert amplitudes is not None
            schema = (*KERNEL, components, ("amplitudes", f"{len(amplitudes)}D", "Array"))
            return self.put(
                "LinearCombinationKernel",
                schema,
                lambda: shape | {"components": [part() for part in parts], "amplitudes": amplitudes},
            )

        schema = (*KERNEL, ("spatialfunctions", f"{len(functions)}J", "Array"), components)

        def values() -> dict[str, Any]:
            spatial = [function() for function in functions]
            return shape | {"spatialfunctions": spatial, "components": [part() for part in parts]}

        return self.put("LinearCombinationKernel", schema, values)

    def hdus(self) -> list[fits.BinTableHDU]:
        tables = []
        names = ("id", "cat.archive", "cat.persistable", "row0", "nrows", "name", "module")
        formats = ("1J", "1J", "1J", "1J", "1J", "64A", "64A")
        columns = zip(names, formats, zip(*self.index, strict=True), strict=True)
        index = fits.BinTableHDU.from_columns([fits.Column(n, f, array=np.array(v)) for n, f, v in columns])
        index.header.update({"EXTTYPE": "ARCHIVE_INDEX", "AR_CATN": 0, "AR_NCAT": len(self.schemas) + 1})
        index.header["EXTNAME"] = "ARCHIVE_INDEX"
        tables.append(index)
        for number, (schema, rows) in enumerate(zip(self.schemas, self.rows, strict=True), 1):
            table = fits.BinTableHDU.from_columns(
                [fits.Column(name, form, array=np.array([row[name] for row in rows])) for name, form, _ in schema]
            )
            for k, (*_, kind) in enumerate(schema, 1):
                table.header[f"TCCLS{k}"] = kind
            table.header.update({"EXTTYPE": "ARCHIVE_DATA", "AR_CATN": number})
            table.header["EXTNAME"] = next((row[5] for row in self.index[::-1] if row[1] == number), "Nothing")
            tables.append(table)
        for table in tables:
            table.header["HIERARCH AFW_TABLE_VERSION"] = self.version
        return tables

    def write(self, path: Path, *before: Any) -> Path:
        fits.HDUList([fits.PrimaryHDU(), *before, *self.hdus()]).writeto(path)
        return path
