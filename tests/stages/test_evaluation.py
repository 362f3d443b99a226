"""Judging: the truth passes, planted faults fail, and what is written says so with errors and floors."""

import functools
import json
import math
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from physgen.config import JudgingConfig, load_config
from physgen.domains.contract import get_domain, list_domains
from physgen.ensemble import save_ensemble, split
from physgen.errors import InputError
from physgen.stages import Evaluator, evaluate, evaluate_ensembles

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
SIZES = {"simulations": 40, "instances": 60}  # four times the smoke configuration, still a second
every_domain = pytest.mark.parametrize("domain", list_domains())
on_a_lattice = pytest.mark.parametrize("domain", [d for d in list_domains() if get_domain(d).array_dimension != 0])


@functools.cache
def data(name):
    config = load_config(CONFIGS / name / "smoke.yaml")
    more = [f"data.{key}={n}" for key, n in SIZES.items() if hasattr(config.data, key)]
    domain = load_config(CONFIGS / name / "smoke.yaml", more).data
    return domain, domain.simulate(seed=11).assign_attrs(domain=name)


def parts(name, seed, **shares):
    domain, ensemble = data(name)
    return split(ensemble, domain.split_by, shares, seed).values()


def outcome(judged, diagnostic):
    return next(v.status for v in judged.verdicts if v.diagnostic == diagnostic)


@every_domain
def test_halves_of_the_same_data_do_not_fail(domain):
    """At a rate of 1 % for a whole page, one of four failing is a chance of 4 %, two one of 0.06 %."""
    failed, seeds = [], range(4)
    for seed in seeds:
        new, reference, train = parts(domain, seed, new=0.4, reference=0.4, train=0.2)
        judged = evaluate_ensembles(new, reference, train, domain=data(domain)[0])
        failed += [v.diagnostic for v in judged.verdicts if v.status == "fail"]
    assert len(failed) <= 1, failed


@every_domain
def test_planted_copies_of_the_training_data_fail_memorization(domain):
    train, reference = parts(domain, 0, train=0.5, reference=0.5)
    judged = evaluate_ensembles(train, reference, train, domain=data(domain)[0])
    assert outcome(judged, "memorization") == "fail"
    assert judged.summary["memorization"]["duplicates"]["value"] > 0.5
    assert "FAIL" in judged.table


@pytest.mark.parametrize("domain", [d for d in list_domains() if "power_spectrum" in get_domain(d)().diagnostics()])
def test_a_rescaled_field_fails_the_power_spectrum(domain):
    new, reference = parts(domain, 1, new=0.5, reference=0.5)
    wrong = new.assign(field=(new.field.dims, 1.3 * new.field.values, new.field.attrs))
    judged = evaluate_ensembles(wrong, reference)
    assert outcome(judged, "power_spectrum") == "fail"
    before = evaluate_ensembles(new, reference).summary["power_spectrum"]["mean_ratio"]["value"]
    assert judged.summary["power_spectrum"]["mean_ratio"]["value"] == pytest.approx(1.3**2 * before, rel=1e-5)


@pytest.mark.parametrize("domain", [d for d in list_domains() if get_domain(d)().values.name == "binary"])
def test_spins_without_their_couplings_fail_the_energy(domain):
    """Spins turned at random are free spins: their energy is zero under any couplings."""
    _, ensemble = data(domain)
    turned = np.where(np.random.default_rng(0).random(ensemble.field.shape) < 0.5, -1, 1)
    free = ensemble.assign(field=(ensemble.field.dims, (ensemble.field.values * turned).astype("int8")))
    judged = evaluate_ensembles(free.drop_vars("energy"), ensemble)
    assert outcome(judged, "energy") == "fail"


def strict(constant):
    raise AssertionError(f"{constant} is not JSON")


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """domain -> folder of a whole evaluation, from files."""

    @functools.cache
    def make(domain):
        folder = tmp_path_factory.mktemp(domain)
        three = parts(domain, 0, new=0.4, reference=0.4, train=0.2)
        paths = [
            save_ensemble(part, folder / f"{name}.h5")
            for part, name in zip(three, ("new", "reference", "train"), strict=True)
        ]
        assert evaluate(*paths, folder / "evaluation").folder == folder / "evaluation"
        return folder / "evaluation"

    return make


@on_a_lattice
def test_the_gallery_stands_for_files_that_share_no_condition(domain, blank_figures_here, tmp_path):
    """Anybody's file: other instances, or labels that are not there at all."""
    new, reference = parts(domain, 1, new=0.5, reference=0.5)
    if "class" in new.variables:
        pytest.skip("the same classes stand in every file")
    one_diagnostic = one_of(domain)
    for other in (new, new.drop_vars(data(domain)[0].split_by)):
        evaluate_ensembles(other, reference, domain=one_diagnostic).write(tmp_path)
        page = (tmp_path / "report.html").read_text()
        assert "differ, titles name what both have in common" in page and "equal conditions" not in page
    evaluate_ensembles(reference, reference, domain=one_diagnostic).write(tmp_path)
    assert "equal conditions in each column" in (tmp_path / "report.html").read_text()


@every_domain
def test_the_summary_is_strict_json_with_errors_and_floors(domain, written):
    text = (written(domain) / "summary.json").read_text()
    summary = json.loads(text, parse_constant=strict)
    verdicts = summary.pop("verdicts")
    assert {v["diagnostic"] for v in verdicts} == {*data(domain)[0].diagnostics(), "memorization"}
    assert {v["diagnostic"] for v in verdicts if v["verdict"] != "not computed"} == set(summary)
    for verdict in verdicts:
        assert verdict["verdict"] in ("pass", "fail", "open", "not computed") and verdict["text"]
        if verdict["verdict"] == "pass":  # no pass without the smallest deviation that it would have seen
            assert 0 < verdict["detectable"] <= verdict["tolerance"]
    floors = 0
    for metrics in summary.values():
        for name, entry in metrics.items():
            assert set(entry) >= {"value", "error"}, name
            for number in entry.values():
                assert number is None or isinstance(number, str) or math.isfinite(number)
            if name not in ("p_value", "max_abs_z"):  # statements about errors themselves
                assert entry["value"] is None or entry["error"] is not None, name
            if re.fullmatch(r"distance_(tv|w1)(_(?!over|worst)\w+)?|mean_abs_log_ratio", name):
                assert entry["floor"] > 0
                floors += 1
    assert floors


@every_domain
def test_the_report_is_one_page_that_needs_nothing_else(domain, written):
    page = (written(domain) / "report.html").read_text()
    assert len(page) < 10e6
    assert not re.search(r"<(script|link|img|iframe|object)[^>]*(src|href)\s*=\s*[\"'](?!data:|#)", page)
    assert not re.search(r"url\(\s*[\"']?(?!data:|#|[\"']?#)", page) and "@import" not in page
    pictures = len(list((written(domain) / "figures").glob("*.svg")))
    assert page.count('src="data:image/svg+xml;base64,') == pictures
    assert "sha256" in page and "not tested" in page.lower()


@every_domain
def test_every_diagnostic_is_kept_as_numbers_and_as_a_figure(domain, written):
    import xarray as xr

    folder = written(domain)
    for name in data(domain)[0].diagnostics():
        for side in ("reference", "generated"):
            with xr.open_dataset(folder / "diagnostics.nc", group=f"{name}/{side}", engine="h5netcdf") as result:
                assert {"value", "error"} <= set(result.variables)
                shown = result.attrs.get("figure", name).lower().replace(" ", "_")  # some stand side by side in one
        for kind in ("png", "svg"):
            assert (folder / "figures" / f"{shown}.{kind}").stat().st_size > 1000
            assert (folder / "figures" / f"gallery.{kind}").stat().st_size > 1000
    assert not [p for p in folder.rglob(".*")]


def one_of(domain, count=1):
    """The first diagnostics of a domain alone, in its frame."""
    real = data(domain)[0]
    some = dict(list(real.diagnostics().items())[:count])
    made = SimpleNamespace(
        name=domain, diagnostics=lambda: some, confront=real.confront, restrict=real.restrict, split_by=real.split_by
    )
    made.diagnostics_of = lambda reference: made.diagnostics()
    return made


@every_domain
def test_a_diagnostic_that_cannot_be_computed_is_reported_and_the_others_go_on(domain):
    def impossible(ensemble):
        raise InputError("needs what is not there: give it")

    new, reference = parts(domain, 1, new=0.5, reference=0.5)
    some = one_of(domain)
    known = some.diagnostics()
    some.diagnostics = lambda: {"impossible": impossible} | known
    judged = evaluate_ensembles(new, reference, domain=some)
    first, second = judged.verdicts
    assert (first.diagnostic, first.status) == ("impossible", "not computed") and second.status != "not computed"
    assert "impossible: needs what is not there" in judged.table


@every_domain
def test_nothing_is_decided_where_all_units_share_their_initial_conditions(domain):
    new, reference = parts(domain, 1, new=0.5, reference=0.5)
    rules = JudgingConfig(tolerances=dict.fromkeys(one_of(domain).diagnostics(), 1e6))
    (plain,) = evaluate_ensembles(new, reference, domain=one_of(domain), judging=rules).verdicts
    shared = reference.assign_attrs(shared_by_units="one set of initial conditions")
    (verdict,) = evaluate_ensembles(new, shared, domain=one_of(domain), judging=rules).verdicts
    assert plain.status == "pass" and verdict.status == "open"
    assert "share one set of initial conditions" in verdict.reason


@every_domain
def test_tolerances_are_taken_from_the_rules_and_unknown_names_are_refused(domain):
    new, reference = parts(domain, 1, new=0.5, reference=0.5)
    name = next(iter(one_of(domain).diagnostics()))
    wide, tight = (
        evaluate_ensembles(new, reference, domain=one_of(domain), judging=JudgingConfig(tolerances={name: limit}))
        for limit in (1e6, 1e-9)
    )
    assert wide.verdicts[0].status == "pass" and wide.verdicts[0].tolerance == 1e6
    assert tight.verdicts[0].status != "pass"
    with pytest.raises(InputError, match="no such diagnostic here"):
        evaluate_ensembles(new, reference, domain=one_of(domain), judging=JudgingConfig(tolerances={"colour": 0.1}))


@every_domain
def test_a_reference_is_measured_once_for_several_ensembles(domain):
    """The results are those of single evaluations, bit by bit; the diagnostic runs once on the reference."""
    some, seen = one_of(domain), []
    ((name, diagnostic),) = some.diagnostics().items()

    def counted(ensemble):
        seen.append(ensemble)
        return diagnostic(ensemble)

    some.diagnostics = lambda: {name: counted}
    new, other, reference = parts(domain, 2, new=0.3, other=0.3, reference=0.4)
    evaluator = Evaluator(reference, some)
    found = [evaluator.evaluate(ensemble) for ensemble in (new, other)]
    judged_on = [evaluation.reference for evaluation in found]  # what the domain takes of it, in one object
    assert judged_on[0] is judged_on[1] and sum(ensemble is judged_on[0] for ensemble in seen) == 1
    assert found[0].results[name][0] is found[1].results[name][0]
    for ensemble, evaluation in zip((new, other), found, strict=True):
        assert evaluate_ensembles(ensemble, reference, domain=one_of(domain)).summary == evaluation.summary


@every_domain
def test_ensembles_without_a_domain_of_their_own_are_judged_by_the_one_that_is_given(
    domain, blank_figures_here, tmp_path
):
    new, reference = (part.drop_attrs(deep=False).assign_attrs(part.attrs) for part in parts(domain, 1, a=0.5, b=0.5))
    for ensemble in (new, reference):
        del ensemble.attrs["domain"]
    with pytest.raises(InputError, match="does not name its physics"):
        evaluate_ensembles(new, reference)
    evaluation = evaluate_ensembles(new, reference, domain=one_of(domain))
    assert evaluation.folder is None and not any(tmp_path.iterdir())
    assert str(evaluation) == evaluation.table
    assert json.loads((evaluation.write(tmp_path).folder / "summary.json").read_text())["verdicts"]


def test_paths_may_be_strings_and_the_folder_is_named_after_the_file(written, blank_figures_here, tmp_path):
    """Of the domain that draws least: all are evaluated from files above."""
    folder = written(min(list_domains(), key=lambda name: len(get_domain(name)().diagnostics()))).parent
    new = tmp_path / "new.h5"
    new.write_bytes((folder / "new.h5").read_bytes())
    found = evaluate(str(new), str(folder / "reference.h5"))
    assert found.folder == tmp_path / "new" and (tmp_path / "new" / "report.html").exists()
    with pytest.raises(InputError, match="new.h5 is a file: choose a folder"):
        evaluate(str(new), str(folder / "reference.h5"), output=str(new))
