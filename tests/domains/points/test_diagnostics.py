"""What is measured of vectors: no deviation where the laws are equal, and the deviations that there are."""

import numpy as np
import pytest
import torch

import physgen as pg
from physgen.diagnostics import compare
from physgen.domains.points import Points
from physgen.domains.points.classes import class_fractions
from physgen.domains.points.coverage import density_and_coverage
from physgen.domains.points.frame import distances, make_frame
from physgen.domains.points.load import load_vectors, vectors
from physgen.domains.points.projections import axis_moments, sliced_wasserstein
from physgen.errors import InputError

NORMAL = np.random.default_rng(0).standard_normal


def judged(*both):
    """Reference and generated as an evaluation sees them."""
    domain = Points()
    reference, generated = (domain.adopt(vectors(x)) if isinstance(x, np.ndarray) else x for x in both)
    generated = domain.confront(reference, generated, "the generated ensemble")
    return domain.restrict(reference, generated), generated


def test_the_frame_fits_the_reference_no_better_than_what_is_judged():
    """Isotropic vectors: along the first axis of all of them the variance is 1.6, along that of other ones 1."""
    own, apart = [], []
    for _ in range(20):
        reference, generated = judged(NORMAL((160, 20)), NORMAL((160, 20)))
        values = [axis_moments(e).value.sel(axis=1, moment=2).item() for e in (reference, generated)]
        assert reference.sizes["sample"] == 120
        apart.append(values[0] / values[1] - 1)
        own.append(np.linalg.eigvalsh(np.cov(flat(reference).T))[-1])
    assert np.mean(own) > 1.4
    assert abs(np.mean(apart)) < 4 * np.std(apart) / 20**0.5


def flat(ensemble):
    return ensemble.field.values.astype(float)


@pytest.mark.parametrize(("anchors", "count"), [(40, 150), (200, 90)])
def test_density_and_coverage_are_one_for_equal_laws(anchors, count):
    found = []
    for _ in range(40):
        frame = vectors(NORMAL((anchors, 3)))
        made = make_frame(flat(frame))
        assert np.allclose(np.sort(distances(made.anchors, made.anchors), axis=1)[:, 5], made.radii)
        _, generated = judged_by(frame, NORMAL((count, 3)))
        result = density_and_coverage(generated)
        found.append([result.value.values, result.error.values])
    value, error = np.transpose(found, (1, 0, 2))
    assert (np.abs(value.mean(0) - 1) < 4 * value.std(0) / 40**0.5).all()
    assert (error.mean(0) / value.std(0) < (1.2, 1.4)).all()  # given the anchors: less than the scatter of all


def judged_by(source, x):
    from physgen.domains.points.frame import with_frame

    return source, with_frame(Points().adopt(vectors(x)), source)


def test_what_is_missing_and_what_is_between_are_seen():
    reference = Points(count=1200, separation=2.0).simulate(1)
    half = vectors(flat(reference)[flat(reference).sum(1) > 0])
    missing = compare(*judged(reference, Points().adopt(half, reference)), density_and_coverage)
    assert float(missing.deviation[1]) < -0.3
    fuzz = vectors(2 * NORMAL((600, 8)))
    between = compare(*judged(reference, Points().adopt(fuzz, reference)), density_and_coverage)
    assert float(between.deviation[0]) < -0.3


def test_the_sliced_wasserstein_distance_has_its_floor():
    reference, same, moved = (NORMAL((400, 6)) + shift for shift in (0, 0, 0.4))
    equal, other = (compare(*judged(reference, made), sliced_wasserstein) for made in (same, moved))
    floor = float(equal.distance_w1_floor.mean())
    assert float(equal.distance_w1.mean()) < 2 * floor < float(other.distance_w1.mean())
    directions = make_frame(flat(vectors(reference))).directions[-8:]
    assert float(other.distance_w1.mean()) == pytest.approx(0.4 * np.abs(directions.sum(1)).mean(), rel=0.2)


@pytest.mark.parametrize("law", [{}, {"law": "mixture", "weights": (0.1, 0.2, 0.3, 0.4)}, {"law": "ising_chains"}])
def test_classes_have_the_weights_of_their_law(law):
    domain = Points(count=4000, **law)
    found = class_fractions(domain.simulate(1))
    weights = np.array(domain.weights) / sum(domain.weights)
    assert (np.abs(found.value - weights) < 4 * found.error).all()


def test_arrays_and_tables_are_judged(tmp_path):
    x, y = NORMAL((120, 5)), NORMAL((120, 5))
    np.save(tmp_path / "x.npy", x)
    (tmp_path / "y.csv").write_text("a,b,c,d,e\n# not a row\n" + "\n".join(",".join(map(str, row)) for row in y))
    found = pg.evaluate(tmp_path / "x.npy", tmp_path / "y.csv", domain="points")
    assert {v.diagnostic: v.status for v in found.verdicts}.keys() == Points().diagnostics().keys()
    assert not [v for v in found.verdicts if v.status in ("fail", "not computed")]
    assert found.facts["lattice"] == "5 components"
    made, train, heldout = (Points.adopt(vectors(v)) for v in (y, y, x))
    copies = Points().memorization(made, train, heldout)
    assert copies.attrs["verdict"] == "fail" and float(copies.duplicates) == 1
    figure = found.figure("gallery")
    assert [axes.get_title() for axes in figure.axes[:2]] == ["reference", "generated"]
    assert pg.figures.cloud(vectors(x[:, :1]), vectors(y[:, :1])).axes[-1].get_xlabel().startswith("principal axis 1")


def test_files_are_imported(tmp_path):
    x = NORMAL((9, 3)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    np.savetxt(tmp_path / "x.csv", x, delimiter=",")
    twice = load_vectors("vectors_npy", [tmp_path / "x.npy"] * 2, {})
    assert twice.sizes == {"sample": 18, "component": 3} and twice.attrs["source"] == "x.npy, x.npy"
    made = pg.import_files("vectors_csv", [tmp_path / "x.csv"])
    np.testing.assert_allclose(made.field.values, x, rtol=1e-6)
    assert made.attrs["domain"] == "points"
    np.save(tmp_path / "cube.npy", np.zeros((2, 3, 4)))
    (tmp_path / "words.csv").write_text("a,b\n1,two\n")
    for format, name, said in (
        ("vectors_npy", "cube.npy", "(2, 3, 4)"), ("vectors_csv", "words.csv", "table"),
        ("vectors_npy", "none.npy", "none.npy"), ("vectors_csv", "none.csv", "none.csv"),
    ):  # fmt: skip
        with pytest.raises(InputError) as refused:
            Points.load(format, [tmp_path / name])
        assert said in str(refused.value)
    with pytest.raises(InputError, match="component"):
        Points.adopt(pg.from_array(np.zeros((4, 8, 8))))
    with pytest.raises(InputError, match="'component': 4"):
        judged(NORMAL((20, 3)), NORMAL((20, 4)))


def test_one_scale_for_all_components_keeps_angles():
    made = vectors(NORMAL((50, 3)) * [1.0, 10.0, 0.0] + 5)
    constants = Points().fit_encoding(made)
    x, _ = Points().encode(made, constants)
    assert len(set(constants["std"])) == 1 and abs(float(x.square().mean()) - 1) < 1e-5
    assert torch.equal(x[:, 2], x[:1, 2].expand(50))
    with pytest.raises(InputError, match="nothing to learn"):
        Points().fit_encoding(vectors(np.ones((5, 2))))
