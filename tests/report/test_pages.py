"""Pages on images and the index over many, as text and in a real browser."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from diffim_decorr import Exposure, InputError, assess, decorrelate, write_grid_kernel
from diffim_decorr.plots import PANELS, draw_assessment, panels_of
from diffim_decorr.report.index import Entry, entries_of, index_of
from diffim_decorr.report.notes import notes_on
from diffim_decorr.report.page import page_of
from support.browser import browser, console, needs_browser
from support.command import succeed
from support.files import write_exposure
from support.kernels import gaussian
from support.noise import noise_pair, white
from support.reference import convolved


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three outputs of one night: two good ones, and one whose variances are standard deviations."""
    folder = tmp_path_factory.mktemp("night")
    kernel, wider = gaussian(15, 1.4), gaussian(15, 1.45)
    # It varies too little to matter to the noise, and enough to be drawn.
    write_grid_kernel(folder / "kernel.fits", [kernel, wider], [0, 299], [0, 0])
    for k, factor in enumerate((1.0, 1.0, 4.0)):
        science, template = noise_pair(30 + k, (280, 300), 1.0, 2.0)
        for name, image, variance in (("sci", science, 1.0), ("tmpl", template, 2.0)):
            write_exposure(folder / f"{name}{k}.fits", image, np.full(image.shape, variance / factor))
        header = fits.Header([("DATE-OBS", f"2026-11-2{k}T03:00:00")])
        fits.writeto(folder / f"diff{k}.fits", (science - convolved(template, kernel)).astype("f4"), header)
        inputs = (f"sci{k}.fits", f"tmpl{k}.fits", f"diff{k}.fits", "--kernel", "kernel.fits")
        psf = () if k else ("--psf", folder / "psf.fits")
        fits.writeto(folder / "psf.fits", gaussian(15, 1.6), overwrite=True)
        succeed(folder, "run", *inputs, *psf, "--spatial", "-o", f"out{k}.fits", "-q")
    return folder


@pytest.fixture(scope="module")
def page(night: Path) -> Path:
    path = night / "out0.html"
    given = ("--before", "diff0.fits", "--sci", "sci0.fits", "--tmpl", "tmpl0.fits", "--kernel", "kernel.fits")
    succeed(night, "qa", "out0.fits", *given, "--report", path, "-q")
    return path


@pytest.fixture(scope="module")
def index(night: Path, page: Path) -> Path:
    path = night / "index.html"
    succeed(night, "report", "out0.fits", "out1.fits", "out2.fits", "-o", path, "-q")
    return path


class _Elements(HTMLParser):
    """Every element with its attributes, and that what is opened is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self._open: list[str] = []
        self.feed(text)
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in ("meta", "link", "img", "input", "br", "path", "use", "rect"):
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag in ("path", "use", "rect"):
            return
        assert self._open.pop() == tag

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


def test_a_page_is_one_whole_document(page: Path) -> None:
    """Nothing from elsewhere, a language, a heading for each section, and words for every picture."""
    text = page.read_text(encoding="utf-8")
    elements = _Elements(text)
    assert elements.of("html") == [{"lang": "en"}]
    assert len(elements.of("h1")) == 1
    sources = [a.get("src") or a.get("href") for tag in ("img", "script", "link", "a") for a in elements.of(tag)]
    assert all(source is None or source.startswith("data:") for source in sources)
    assert "http://" not in text.replace("http://www.w3.org", "")
    assert "https://" not in text
    assert len(elements.of("img")) == len(PANELS)
    assert all(len(str(image["alt"])) > 10 for image in elements.of("img"))


def test_it_says_what_was_found_and_how_it_was_made(night: Path, page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    header = fits.getheader(night / "out0.fits")
    assert '<span class="badge ok">ok</span> out0.fits[IMAGE]' in text
    for name in ("max_abs_rho", "max_abs_rho_before", "block_std.16", "peaks.above_4", "residual", "background.level"):
        assert f'<th scope="row">{name}</th>' in text
    assert f'<th scope="row">DCSVAR</th><td class="long">{header["DCSVAR"]}</td>' in text


def test_a_bad_one_says_what_to_do(night: Path, tmp_path: Path) -> None:
    succeed(night, "qa", "out2.fits", "--report", tmp_path / "bad.html", "-q")
    text = (tmp_path / "bad.html").read_text(encoding="utf-8")
    assert '<span class="badge fail">fail</span>' in text
    assert "What to do: check the variance planes" in text


def test_names_and_headers_are_no_markup() -> None:
    header = fits.Header([("DCVERS", "0"), ("DCSCI", "<script>alert(1)</script>"), ("DCWARN1", "<b>bold</b>")])
    image = white(np.random.default_rng(1), (200, 210))
    found = assess(Exposure(image, np.ones(image.shape), header=header, name="<i>a</i>&.fits"))
    text = page_of(found)
    assert "<script>alert" not in text
    assert "<i>a</i>" not in text
    assert "<b>bold" not in text
    assert "&lt;b&gt;bold" in text
    entry = Entry("<i>a</i>", "ok", "<u>b</u>", {"snr_std": 1.0})
    assert "<i>a</i>" not in index_of([entry], "<h1>t</h1>")
    assert "<u>b</u>" not in index_of([entry], "<h1>t</h1>")


@pytest.mark.slow
def test_every_picture_has_something_in_it(night: Path, tmp_path: Path) -> None:
    """All pictures, as raster and as vectors, the same each time."""
    given = ("--before", "diff0.fits", "--sci", "sci0.fits", "--tmpl", "tmpl0.fits", "--kernel", "kernel.fits")
    for name in ("1.png", "1.pdf", "1.svg", "2.svg"):
        succeed(night, "qa", "out0.fits", *given, "--plot", tmp_path / name, "-q")
    assert (tmp_path / "1.svg").read_bytes() == (tmp_path / "2.svg").read_bytes()
    text = (tmp_path / "1.svg").read_text(encoding="utf-8")
    for panel in PANELS:
        assert f">{panel.title}<" in text


def test_what_is_not_known_has_no_picture() -> None:
    image = white(np.random.default_rng(2), (200, 210))
    found = assess(Exposure(image, np.ones(image.shape)))
    names = {panel.name for panel in panels_of(found)}
    assert {"before_zoom", "psf", "psi", "psi_width", "kernel", "ratio"}.isdisjoint(names)
    drawn = draw_assessment(found)
    assert sum(bool(axis.get_title()) for axis in drawn.axes) == len(names)


def test_the_map_shows_where_noise_is_more() -> None:
    image = white(np.random.default_rng(3), (256, 320))
    image[:, 160:] *= 2
    found = assess(Exposure(image, np.ones(image.shape)))
    drawn = draw_assessment(found)
    axis = next(axis for axis in drawn.axes if axis.get_title() == "Scatter / variance plane")
    shown = np.asarray(axis.images[0].get_array())
    assert shown[:, -1].mean() > 1.8
    assert shown[:, 0].mean() < 1.1


# The index


def test_the_worst_comes_first(night: Path) -> None:
    entries = entries_of([str(night / f"out{k}.fits") for k in (0, 1, 2)], str(night / "index.html"))
    assert [entry.status for entry in entries] == ["fail", "ok", "ok"]
    assert entries[0].name.endswith("out2.fits")
    assert entries[0].figures["snr_std"] == pytest.approx(2.0, abs=0.05)
    assert sorted(entry.when for entry in entries) == pytest.approx([61364.125, 61365.125, 61366.125])


def test_folders_and_tables(night: Path, tmp_path: Path) -> None:
    folder = entries_of([str(night)], str(tmp_path / "index.html"))
    # What is no output of a run is none of its results.
    assert sorted(Path(entry.name).name for entry in folder) == ["out0.fits", "out1.fits", "out2.fits"]
    succeed(night, "qa", "out0.fits", "out2.fits", "--ecsv", tmp_path / "t.ecsv", "-q")
    table = entries_of([str(tmp_path / "t.ecsv")], str(tmp_path / "index.html"))
    assert [entry.status for entry in table] == ["fail", "ok"]
    assert "block_std.8" in table[0].figures
    assert "snr_std_error" not in table[0].figures


def test_what_is_no_result(night: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no output of decorr run"):
        entries_of([str(night / "diff0.fits")], "index.html")
    with pytest.raises(InputError, match="not one output"):
        entries_of([str(tmp_path)], "index.html")
    (tmp_path / "x.ecsv").write_text("nothing", encoding="utf-8")
    with pytest.raises(InputError, match="no table of decorr qa"):
        entries_of([str(tmp_path / "x.ecsv")], "index.html")


# In a browser


@pytest.fixture(scope="module")
def window() -> Iterator[Any]:
    with browser() as driver:
        yield driver


@needs_browser
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("which", ["page", "index"])
def test_in_a_browser(window: Any, page: Path, index: Path, which: str, width: int, scheme: str) -> None:
    """Nothing sticks out, nothing goes wrong, and text stands out of its background."""
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    window.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    window.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    window.get((page if which == "page" else index).as_uri())
    assert window.execute_script("return document.documentElement.scrollWidth") <= width
    assert console(window) == []
    assert window.execute_script("return Array.from(document.images).every(i => i.naturalWidth > 100)")
    colours = window.execute_script(
        "return Array.from(document.querySelectorAll('body, .dim, .badge, td, a')).map("
        "e => [getComputedStyle(e).color, (function b(n) { const c = getComputedStyle(n).backgroundColor;"
        "return c === 'rgba(0, 0, 0, 0)' && n.parentElement ? b(n.parentElement) : c; })(e)])"
    )
    assert colours
    for front, back in {tuple(pair) for pair in colours}:
        assert _contrast(front, back) >= 4.5, (front, back)


def _contrast(front: str, back: str) -> float:
    """WCAG 2.1's contrast of two colours."""
    levels = []
    for colour in (front, back):
        rgb = np.array([int(part) for part in re.findall(r"\d+", colour)[:3]]) / 255
        linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
        levels.append(float(linear @ [0.2126, 0.7152, 0.0722]))
    return (max(levels) + 0.05) / (min(levels) + 0.05)


@needs_browser
def test_sorting_and_searching(window: Any, index: Path) -> None:
    window.get(index.as_uri())

    def column(number: int) -> list[str]:
        rows = "Array.from(document.querySelectorAll('#table tbody tr:not([hidden])'))"
        return window.execute_script(f"return {rows}.map(r => r.cells[{number}].textContent)")

    heads = window.execute_script(
        "return Array.from(document.querySelectorAll('#table thead th')).map(h => h.textContent)"
    )
    assert [text.split()[0] for text in column(0)] == ["fail", "ok", "ok"]
    place = heads.index("snr_std")
    button = window.find_elements("css selector", "#table thead th button")[place]
    button.click()
    values = [float(text) for text in column(place)]
    assert values == sorted(values, reverse=True)
    button.click()
    assert [float(text) for text in column(place)] == sorted(values)
    head = window.find_elements("css selector", "#table thead th")[place]
    assert head.get_attribute("aria-sort") == "ascending"
    field = window.find_element("id", "filter")
    field.send_keys("out1")
    assert column(1) == ["out1.fits"]
    # The page of the one that has a page.
    field.clear()
    field.send_keys("out0")
    window.find_element("link text", "out0.fits").click()
    assert "out0.fits" in window.title


@needs_browser
def test_a_thousand_rows_stay_quick(window: Any, tmp_path: Path) -> None:
    """Sorting and searching them takes less than what people notice, a second by far."""
    rng = np.random.default_rng(4)
    figures = [{name: float(v) for name, v in zip("abcdefghij", rng.normal(size=10), strict=True)} for _ in range(1000)]
    entries = [Entry(f"e{k}.fits", "ok", "", own, 60000.0 + k) for k, own in enumerate(figures)]
    path = tmp_path / "many.html"
    path.write_text(index_of(entries, "many"), encoding="utf-8")
    window.get(path.as_uri())
    script = "const t = performance.now(); sort(4); return performance.now() - t"
    assert window.execute_script(script) < 1000
    values = window.execute_script(
        "return Array.from(document.querySelectorAll('#table tbody tr')).map(r => +r.cells[4].dataset.value)"
    )
    assert len(values) == 1000
    assert values == sorted(values, reverse=True)


def test_a_result_in_memory(tmp_path: Path) -> None:
    """Judged and drawn with what it knows of itself: its kernel, and the difference that is handed over."""
    kernel = gaussian(15, 1.4)
    science, template = noise_pair(40, (260, 280), 1.0, 2.0)
    difference = Exposure(science - convolved(template, kernel))
    result = decorrelate(Exposure(science, np.ones(science.shape)), Exposure(template, 2.0), difference, kernel)
    found = result.assess(before=difference)
    assert found.verdict.status == "ok"
    assert found.psi is not None
    assert found.figures["max_abs_rho_before"].value > 0.05
    drawn = result.plot(tmp_path / "result.pdf", before=difference)
    assert "Decorrelation kernel" in [axis.get_title() for axis in drawn.axes]
    assert (tmp_path / "result.pdf").read_bytes().startswith(b"%PDF")


def test_pages_beside_results(night: Path, tmp_path: Path) -> None:
    """Those that are missing are written and linked; a broken file has none, and is said."""
    for k in (0, 1):
        (tmp_path / f"o{k}.fits").write_bytes((night / f"out{k}.fits").read_bytes())
    done = succeed(tmp_path, "report", "o0.fits", "o1.fits", "--pages")
    assert done.stdout == "report.html: 2 images\n"
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    for k in (0, 1):
        assert f'<a href="o{k}.html">' in text
        assert (tmp_path / f"o{k}.html").exists()


# What stands out, in words


def _image(seed: int = 50) -> np.ndarray:
    return white(np.random.default_rng(seed), (400, 420))


def _notes(image: np.ndarray) -> str:
    return " ".join(notes_on(assess(Exposure(image, np.ones(image.shape)))))


def test_perfect_noise_needs_no_words() -> None:
    assert _notes(_image()) == ""


def test_power_at_large_scales_is_explained() -> None:
    image = _image()
    image += 0.1 * np.sin(np.arange(420) / 12)
    assert "power at large scales" in _notes(image)


@pytest.mark.parametrize(("sign", "says"), [(-1, "more negative peaks"), (1, "more positive peaks")])
def test_peaks_of_one_sign_are_explained(sign: int, says: str) -> None:
    image = _image()
    image[20::40, 20::40] += sign * 15
    text = _notes(image)
    assert says in text
    assert ("defects of the template" in text) == (sign < 0)
    assert "beyond 5 sigma" in text


def test_noise_that_varies_is_explained() -> None:
    image = _image()
    image[:, 200:] *= 1.2
    assert "from cell to cell" in _notes(image)
