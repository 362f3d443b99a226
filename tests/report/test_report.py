"""The report: one page that needs nothing else, with every number, error, floor and threshold in it."""

import json
import math
from html.parser import HTMLParser

import numpy as np
import pytest

from physgen import report
from physgen.diagnostics.comparison import compare_results
from physgen.diagnostics.metrics import metrics_of
from physgen.diagnostics.result import make_result
from physgen.diagnostics.verdict import Verdict, judge
from physgen.figures.notation import format_value
from physgen.report import Picture, Section, Table

METRICS = {
    "power_spectrum": {
        "mean_abs_log_ratio": {"value": 0.0483, "error": 0.0021, "floor": 0.0312, "null": 0.0333},
        "chi2_per_dof": {"value": 1.47, "error": 0.43},
    },
    "overlap": {
        "distance_tv": {"value": 0.2345, "error": 0.0123, "floor": 0.0456},
        "distance_w1_J": {"value": math.nan, "error": math.nan, "floor": 0.01},
    },
    "energy": {
        "temperature_0.5_J": {"value": -1.3, "error": 0.1, "reference": -1.2, "reference_error": 0.1, "z": 0.7},
        "p_value": {"value": 0.3, "error": None, "floor": None},
    },
}
VERDICTS = (
    Verdict(
        "power_spectrum", "pass", "1.8 % in P(k); would have seen 2.7 %", 0.1, "ratio", "P(k)", percent=True,
        deviation=0.0183, error=0.0051, low=-0.001, high=0.041, where="k = 0.3", p_value=0.41, detectable=0.027,
        fail_p=1.0,
    ),
    Verdict(
        "overlap", "fail", "distance_tv <= 1: outside with p = 2e-08", 0.05, "distribution", "probability",
        percent=True, deviation=-0.2345, error=0.0123, low=-0.27, high=-0.19, where="T = 0.5 J", p_value=1e-9,
        detectable=0.04, fail_p=2e-8,
    ),
    Verdict("energy", "open", "about 40 independent units a side would decide"),
    Verdict("xi_L", "not computed", "needs a periodic lattice"),
)  # fmt: skip
TEMPERATURE = ("temperature", np.array([0.5, 0.8, 1.5]), {"long_name": "temperature", "units": "J"})
VOID = {"meta", "img", "br", "hr", "input", "link"}


def compared(dims, coords, mean, **attrs):
    """Two results of 16 units scattered by a tenth around ``mean``, and their comparison with two halves."""
    rng = np.random.default_rng(0)
    shape = np.shape(mean)
    results = [
        make_result(mean * np.exp(0.1 * rng.normal(size=(n, *shape))), dims, coords, np.arange(n), **attrs)
        for n in (16, 16, 8, 8)
    ]
    return *results[:2], compare_results(*results)


def spectrum():
    k = np.geomspace(0.3, 6, 10)
    coords = {"k": (k, {"long_name": "wavenumber", "units": "h/Mpc"})}
    attrs = {"diagnostic": "power_spectrum", "kind": "spectrum", "long_name": "power spectrum", "units": "(Mpc/h)^2"}
    return compared(("k",), coords, k**-2, unit="simulation", **attrs)


def overlap():
    coords = {"temperature": TEMPERATURE, "q": (np.linspace(-0.8, 0.8, 5), {"long_name": "overlap", "units": "1"})}
    attrs = {"diagnostic": "overlap", "kind": "histogram", "long_name": "probability", "measure": "probability"}
    return compared(("temperature", "q"), coords, np.full((3, 5), 0.2), unit="disorder", **attrs)


def energy():
    attrs = {"diagnostic": "energy", "kind": "scalar", "long_name": "energy per spin", "units": "J"}
    return compared(("temperature",), {"temperature": TEMPERATURE}, np.array([-1.4, -1.2, -0.9]), **attrs)


class Page(HTMLParser):
    """Text of each table row, sources of the page, and whether every tag is closed where it should be."""

    def __init__(self, text):
        super().__init__()
        self.open, self.sources, self.ids, self.rows, self.words = [], [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.sources += [attrs[name] for name in ("src", "href", "xlink:href", "action", "data") if name in attrs]
        self.ids += [attrs["id"]] if "id" in attrs else []
        self.rows += [[]] if tag == "tr" else []
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if data.strip() and "style" not in self.open:
            self.words.append(data.strip())
            if "tr" in self.open:
                self.rows[-1].append(" ".join(data.split()))


@pytest.fixture
def svg(tmp_path):
    path = tmp_path / "curve.svg"
    path.write_text('<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><circle r="3"/></svg>')
    return path


def written(folder, sections=(), verdicts=VERDICTS, metrics=METRICS, **notes):
    notes = {"provenance": {"seed": 3}, "not_tested": ["Three-point functions."]} | notes
    path = report.write_report(folder, "Slabs < boxes", verdicts, metrics, sections, **notes)
    text = path.read_text(encoding="utf-8")
    return text, Page(text)


def test_the_page_is_well_formed_and_asks_for_nothing_outside_itself(tmp_path, svg):
    text, page = written(tmp_path, [Section("gallery", "words", [Picture(svg, "caption")])])
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    assert page.sources and all(source.startswith(("data:image/svg+xml;base64,", "#")) for source in page.sources)
    assert all(f"#{name}" in page.sources for name in page.ids)
    assert not any(word in text for word in ("http://", "https://", "@import", "url(", "<script", "<link"))


def test_every_number_stands_with_its_error_floor_verdict_and_tolerance(tmp_path):
    _, page = written(tmp_path)
    rows = [" | ".join(row) for row in page.rows]
    assert "power spectrum | ✓ pass | 1.83(51) % | 10 % | 2.7 % | 0.41 | 1.8 % in P(k); would have seen 2.7 %" in rows
    assert "overlap | ✗ fail | −23.4(1.2) % | 5 % | 4 % | 1e-09 | distance_tv <= 1: outside with p = 2e-08" in rows, (
        "no word of a sentence is changed"
    )
    assert "energy | open | about 40 independent units a side would decide" in rows
    assert "xi L | not computed | needs a periodic lattice" in rows
    assert "power spectrum | mean |ln ratio| | 0.0483(21) | 0.0312 | 0.033" in rows
    assert "power spectrum | χ² / dof | 1.47(43)" in rows
    assert "overlap | total variation | 0.234(12) | 0.0456" in rows
    assert "overlap | Wasserstein-1 J | n/a | 0.01" in rows
    assert "energy | p value | 0.3" in rows
    assert not any("temperature" in row for row in rows), "single points belong to the table of their section"


def test_the_headline_names_each_failure_and_what_is_open_or_not_computed(tmp_path):
    text = report.verdict_sentence(VERDICTS)
    assert text == (
        "1 of 2 decided diagnostics agree; generated and reference differ in overlap. "
        "Open with these data: energy. Not computed: xi L."
    )
    assert text in written(tmp_path)[1].words
    assert report.verdict_sentence([Verdict("a", "pass", "")]).startswith("The one decided diagnostic agrees")
    assert report.verdict_sentence([]).startswith("No verdict")


def test_the_printed_table_has_a_row_for_each_diagnostic_and_the_reasons_below():
    lines = report.verdict_table(VERDICTS).splitlines()
    assert " ".join(lines[2].split()) == "power spectrum pass 1.83(51) % of P(k) k = 0.3 10 % 2.7 % 0.41"
    assert "FAIL" in lines[3] and lines[4].split()[:2] == ["energy", "open"]
    assert lines[-1] == "xi L: needs a periodic lattice"


def test_strings_from_outside_cannot_become_markup(tmp_path, svg):
    evil = "<img src='http://evil'>"
    section = Section(evil, evil, [Picture(svg, evil)], [Table((evil, "n"), [(evil, "1")], evil)])
    text, _ = written(tmp_path, [section], provenance={evil: {"a": evil}, "b": evil}, not_tested=[evil])
    assert "<img src='http" not in text and "&lt;img src=" in text


def test_a_diagnostic_tells_convention_units_unit_counts_and_what_bars_mean(svg):
    reference, generated, comparison = spectrum()
    reference.attrs["convention"] = "White noise of unit variance has P = cell volume."
    section = report.diagnostic_section(reference, generated, comparison, svg)
    caption = section.pictures[0].caption
    assert section.title == "power spectrum" and section.text == reference.attrs["convention"]
    assert "Power spectrum [(Mpc/<i>h</i>)<sup>2</sup>]</b> against wavenumber [<i>h</i>/Mpc]" in caption
    assert "reference, 16 independent units (unit: simulation); blue: generated, 16" in caption
    assert "standard error of the mean over these units" in caption
    assert "simulation by simulation" in caption
    assert f"χ² = {float(comparison['chi2']):.1f} for {int(comparison['dof'])} degrees of freedom" in caption


def test_distances_are_tabled_at_every_temperature_with_error_and_floor(tmp_path, svg):
    reference, generated, comparison = overlap()
    section = report.diagnostic_section(reference, generated, comparison, svg)
    rows = section.tables[0].rows
    assert len(rows) == 2 * reference.sizes["temperature"]
    second = {name: float(comparison[name][1]) for name in comparison.data_vars if name.startswith("distance_tv")}
    value = format_value(second["distance_tv"], second["distance_tv_error"])
    floor = format_value(second["distance_tv_floor"], second["distance_tv_floor_error"])
    assert rows[1][:3] == ("total-variation distance, temperature 0.8 <i>J</i>", value, floor)
    _, page = written(tmp_path, [section])
    assert any(value in row and floor in row for row in page.rows)


def test_a_scalar_is_tabled_at_every_temperature_and_has_no_empty_table_of_distances(svg):
    reference, generated, comparison = energy()
    (table,) = report.diagnostic_section(reference, generated, comparison, svg).tables
    assert table.header == ("point", "reference", "generated", "pull")
    truth, drawn = (format_value(float(r["value"][2]), float(r["error"][2])) for r in (reference, generated))
    assert table.rows[2][:3] == ("temperature 1.5 <i>J</i>", truth, drawn)
    assert float(table.rows[2][3].replace("−", "-")) == pytest.approx(float(comparison["z"][2]), abs=0.05)


def test_what_judge_returns_is_understood(tmp_path):
    metrics, verdicts = {}, []
    for name, make in (("power_spectrum", spectrum), ("overlap", overlap), ("energy", energy)):
        comparison = make()[2]
        verdicts.append(judge(comparison))
        metrics[name] = metrics_of(comparison, verdicts[-1])
    _, page = written(tmp_path, verdicts=verdicts, metrics=metrics)
    assert sum(bool({"✓ pass", "✗ fail", "open"} & set(row)) for row in page.rows) == 3
    tv = metrics["overlap"]["distance_tv"]
    text = " | ".join([format_value(tv["value"], tv["error"]), format_value(tv["floor"])])
    assert any(text in " | ".join(row) for row in page.rows)


def test_the_summary_file_is_strict_json_whatever_the_numbers(tmp_path):
    summary = report.flat_summary(VERDICTS, METRICS)
    assert list(summary) == [*METRICS, "verdicts"] and list(summary["verdicts"][0])[:3] == [
        "diagnostic",
        "verdict",
        "text",
    ]
    summary |= {"energy": {"mean": {"value": np.float32(0.5), "error": np.nan, "floor": np.float64("inf")}}}
    summary["array"] = {"all": {"value": np.array([1.0, np.nan]), "error": 0.1}}

    def forbidden(name):
        raise AssertionError(f"{name} is not JSON")

    path = report.write_summary(tmp_path / "new", summary)
    read = json.loads(path.read_text(), parse_constant=forbidden)
    assert read["energy"]["mean"] == {"value": 0.5, "error": None, "floor": None}
    assert read["array"]["all"]["value"] == [1.0, None]
    assert read["overlap"]["distance_tv"]["floor"] == 0.0456
    assert read["verdicts"][1]["verdict"] == "fail" and read["verdicts"][3]["text"] == "needs a periodic lattice"


def test_nothing_half_written_is_left_behind(tmp_path, svg):
    written(tmp_path / "out")
    with pytest.raises(FileNotFoundError):
        written(tmp_path / "out", [Section("x", "", [Picture(tmp_path / "missing.svg")])])
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["report.html"]


def test_the_strip_places_value_bar_and_floor_on_one_scale():
    drawn = report.strip({"value": 0.2, "error": 0.05, "floor": 0.1}, width=112)
    page = Page(drawn)
    assert page.sources == []
    scale = 100 / (0.25 * 1.05)
    assert f'cx="{6 + 0.2 * scale:.1f}"' in drawn and f'width="{0.1 * scale:.1f}"' in drawn
    assert report.strip({"value": math.nan, "floor": 0.1}) == report.strip({"value": 1.0}) == ""
