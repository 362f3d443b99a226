"""Images: the law of dead leaves, dequantisation, classes as conditions, and what is measured of them."""

import gzip
import json
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from physgen.config import experiment_model, load_config
from physgen.config.explain import walk_keys
from physgen.domains.contract import get_domain
from physgen.domains.images.arrays import image_ensemble
from physgen.domains.images.classes import class_agreement, class_fractions, class_means, fit_classifier
from physgen.domains.images.dead_leaves import draw_leaves, same_leaf
from physgen.domains.images.encoding import within_level
from physgen.domains.images.patches import patch_moments, patterns
from physgen.domains.images.statistics import blocks, gradients, lag_correlation, mean_image, windowed_spectrum
from physgen.ensemble import flatten
from physgen.errors import InputError

IMAGES = get_domain("images")
ROOT = Path(__file__).resolve().parents[3]
RADII = (1.0, 8.0)


def digits(count=600, **settings):
    domain = IMAGES(source="digits", count=count, **settings)
    return domain, domain.simulate(seed=3)


# --- dead leaves ------------------------------------------------------------------------------------------


def test_two_pixels_share_a_leaf_as_often_as_the_law_says():
    """And other leaves are independent: the covariance is that probability times the variance of a grey value."""
    levels, drawn = 8, draw_leaves(1500, 12, RADII, 8, seed=5)
    assert drawn.min() == 0 and drawn.max() == levels - 1 and np.array_equal(drawn, np.rint(drawn))
    centred = drawn.astype(float) - (levels - 1) / 2
    variance = (levels**2 - 1) / 12
    per_image = centred.mean((1, 2))
    assert abs(per_image.mean()) < 4 * per_image.std() / len(drawn) ** 0.5
    for lag in (0, 1, 3, 7):
        product = (centred[:, :, lag:] * centred[:, :, : 12 - lag]).mean((1, 2))
        error = product.std() / len(drawn) ** 0.5
        assert abs(product.mean() - variance * same_leaf(np.array(lag), RADII)) < 4 * error, lag


def test_the_probability_of_one_leaf_is_known_where_all_leaves_are_equal():
    """Radii in a narrow range: the lens of two discs over its complement; 1 at no distance, 0 beyond a diameter."""
    part = 0.4 / 2.0
    lens = 2 * (np.arccos(part) - part * np.sqrt(1 - part**2))
    found = same_leaf(np.array([0.0, 0.4, 2.01]), (1.0, 1.0 + 1e-9))
    np.testing.assert_allclose(found, [1.0, lens / (2 * np.pi - lens), 0.0], atol=1e-7)


def test_an_image_of_leaves_depends_on_its_number_not_on_how_many_are_made():
    assert np.array_equal(draw_leaves(2, 8, RADII, 256, 1), draw_leaves(5, 8, RADII, 256, 1)[:2])


# --- encoding ---------------------------------------------------------------------------------------------


def test_noise_within_a_level_is_uniform_and_belongs_to_the_image():
    drawn = draw_leaves(400, 8, RADII, 256, 2)[:, None]
    u = within_level(drawn)
    assert np.abs(u).max() < 0.5
    assert abs(u.mean()) < 4 * (u.size * 12) ** -0.5 and abs(u.var() * 12 - 1) < 4 * (0.8 / u.size) ** 0.5
    order = np.random.default_rng(0).permutation(400)
    assert np.array_equal(within_level(drawn[order]), u[order])
    assert not np.allclose(u[0], u[1])


def test_levels_come_back_whatever_is_added_within_them():
    """Drawn noise of less than half a level, then the nearest level; clipped and raw keep the fraction."""
    domain, ensemble = digits(50)
    constants = domain.fit_encoding(ensemble)
    x, _ = domain.encode(ensemble, constants)
    assert np.array_equal(domain.decode(x, ensemble, constants).field.values, ensemble.field.values)
    far = domain.decode(x + 100, ensemble, constants).field.values
    assert np.all(far == 16)
    raw = IMAGES(count=50, decoded="raw").decode(x, ensemble, constants).field.values - ensemble.field.values
    assert 0.2 < raw.std() < 0.4  # 12^-1/2
    clipped = IMAGES(count=50, decoded="clipped").decode(x, ensemble, constants).field.values
    assert clipped.min() == 0 and clipped.max() == 16 and not np.array_equal(clipped, np.rint(clipped))


def test_the_jacobian_is_that_of_the_encoding():
    domain, ensemble = digits(40)
    constants = domain.fit_encoding(ensemble)
    known = domain.log_jacobian(ensemble, constants)
    moved = ensemble.assign(field=ensemble.field + 1)
    raw = IMAGES(count=40, dequantise=False)
    plain = raw.fit_encoding(ensemble)
    slope = (raw.encode(moved, plain)[0] - raw.encode(ensemble, plain)[0]).double().log().flatten(1).sum(1)
    np.testing.assert_allclose(known, slope, rtol=1e-5)
    assert raw.log_jacobian(ensemble, plain) is None  # whole numbers without noise have no density


def test_a_class_can_be_asked_for_and_only_one_that_was_trained():
    domain, ensemble = digits(200)
    constants = domain.fit_encoding(ensemble)
    template = domain.request(ensemble, 5, {"class": 3.0}, constants)
    assert template["class"].values.tolist() == [3] * 5 and template["class"].dtype == np.int64
    assert torch.equal(domain.condition(template, constants)["labels"], torch.eye(10)[[3] * 5])
    for wrong in ({"class": 10}, {"class": 2.5}, {"klass": 1}):
        with pytest.raises(InputError, match="class"):
            domain.request(ensemble, 5, wrong, constants)
    without = IMAGES(count=200, class_condition=False)
    plain = without.fit_encoding(ensemble)
    assert without.condition(ensemble, plain) == {} and "class" not in without.request(ensemble, 5, {}, plain)
    with pytest.raises(InputError, match="no label|not a label"):
        without.request(ensemble, 5, {"class": 3}, plain)


def test_the_spectrum_that_is_started_from_knows_no_class():
    """Its coefficients would be fitted to vectors of a single one and asked at points between them."""
    domain, ensemble = digits(100)
    x, condition = domain.encode(ensemble, domain.fit_encoding(ensemble))
    assert len(domain.values.prior_spectrum(x, condition["labels"]).ln_power) == 1


def test_half_of_the_images_are_mirrored():
    domain, ensemble = digits(400, flip=True)
    x, condition = domain.encode(ensemble, domain.fit_encoding(ensemble))
    from physgen.diffusion.draws import SampleDraws

    moved, _ = domain.augment(x, condition, SampleDraws(0, "augmentation", range(400)))
    mirrored = (moved == x.flip(-1)).flatten(1).all(1)
    assert torch.equal(moved[~mirrored], x[~mirrored]) and abs(int(mirrored.sum()) - 200) < 4 * 10


def test_every_key_of_the_data_changes_the_data():
    """Keys of the dataclass, each against the smallest data that show it."""
    leaves = {"source": "dead_leaves", "count": 4, "cells": 8, "largest_radius": 4.0}
    walked = {
        "source": ({}, "dead_leaves"), "count": ({}, 30), "cells": (leaves, 10), "smallest_radius": (leaves, 2.0),
        "largest_radius": (leaves, 6.0), "levels": (leaves, 16), "class_condition": ({}, False),
        "dequantise": ({}, False), "decoded": ({}, "raw"), "flip": ({}, True),
    }  # fmt: skip
    keys = {key.removeprefix("data.") for key, _ in walk_keys(experiment_model("images")) if key.startswith("data.")}
    assert keys == set(walked)
    for key, (base, value) in walked.items():
        base = {"count": 20} | base
        assert outcome(IMAGES(**base)) != outcome(IMAGES(**base | {key: value})), key


def outcome(domain):
    from physgen.diffusion.draws import SampleDraws

    ensemble = domain.simulate(seed=1)
    constants = domain.fit_encoding(ensemble)
    x, condition = domain.encode(ensemble, constants)
    drawn = domain.decode(x + 0.01, ensemble, constants).field.values
    moved, _ = domain.augment(x, condition, SampleDraws(0, "augmentation", range(len(x))))
    return [a.tobytes() for a in (flatten(ensemble), x.numpy(), drawn, moved.numpy())], sorted(condition)


@pytest.mark.parametrize("settings", [{"smallest_radius": 0.0}, {"smallest_radius": 4.0, "largest_radius": 2.0}])
def test_radii_that_have_no_law_are_refused(settings):
    with pytest.raises(InputError, match="radii"):
        IMAGES(source="dead_leaves", **settings)


# --- measuring --------------------------------------------------------------------------------------------


def white(count=300, sides=(8, 6), seed=0, mean=0.0):
    values = mean + np.random.default_rng(seed).standard_normal((count, *sides))
    return image_ensemble(values)


def test_white_noise_has_the_spectrum_of_white_noise_under_the_window():
    """P = 1, the area of a pixel times the variance, also where the mean is far from zero; errors by counting."""
    found = windowed_spectrum(white(mean=5.0))
    pull = ((found.value - 1) / found.error).values
    assert np.all(np.abs(pull) < 4.5)


def test_pixels_across_an_edge_are_not_neighbours():
    """A ramp: on a torus its first and last columns would touch, and no lag would be a difference of columns."""
    ramp = np.tile(np.arange(8.0), (8, 1))
    both = image_ensemble(np.stack([ramp, -ramp]))
    found = lag_correlation(both)
    rows, columns = np.divmod(np.arange(64), 8)
    apart = np.rint(np.hypot(rows[:, None] - rows, columns[:, None] - columns)).astype(int)
    product = ramp.reshape(-1)[:, None] * ramp.reshape(-1)
    wanted = [product[apart == lag].mean() for lag in range(5)]
    np.testing.assert_allclose(found.value, wanted, rtol=1e-6)
    steps = gradients(image_ensemble(np.stack([ramp, ramp]))).value.values
    assert np.count_nonzero(steps) == 2  # 0 down the columns, one level along the rows, and no step back
    levels = image_ensemble(np.stack([ramp, ramp]), 17)
    found = gradients(levels)  # in levels: half of the steps are 0, half are 1, whatever the scatter of the values
    assert found.value.sel(gradient=0) == found.value.sel(gradient=1) == 0.5 and float(found.width[0]) == 1
    wide = gradients(image_ensemble(np.stack([ramp, ramp]), 256))
    assert float(wide.width[0]) == 17 and wide.value.sel(gradient=0) == 1 / 17


def test_the_patterns_are_orthonormal_and_their_moments_those_of_white_noise():
    flat = patterns().reshape(8, 9)
    np.testing.assert_allclose(flat @ flat.T, np.eye(8), atol=1e-12)
    np.testing.assert_allclose(flat.sum(1), 0, atol=1e-12)
    found = patch_moments(white())
    pull = (found.value / found.error).values  # ln 1 = 0, and no excess kurtosis
    assert np.all(np.abs(pull) < 4.5)
    scaled = white()
    louder = patch_moments(scaled.assign(field=2 * scaled.field))
    np.testing.assert_allclose(louder.value.sel(moment=1), found.value.sel(moment=1) + np.log(4), rtol=1e-6)
    np.testing.assert_allclose(louder.value.sel(moment=2), found.value.sel(moment=2), atol=1e-5)


def test_blocks_are_means_over_pixels():
    values = np.arange(2 * 1 * 16 * 12, dtype=float).reshape(2, 1, 16, 12)
    assert blocks(values).shape == (2, 1, 8, 6)
    np.testing.assert_allclose(blocks(values)[1, 0, 2, 3], values[1, 0, 4:6, 6:8].mean())
    found = mean_image(image_ensemble(values[:, 0]))
    np.testing.assert_allclose(found.value, blocks(values).mean(0).reshape(-1), rtol=1e-6)


def test_the_error_of_a_class_mean_is_that_of_its_members():
    _, ensemble = digits(400)
    found = class_means(ensemble)
    values = blocks(flatten(ensemble).astype(float), 4).reshape(400, -1)
    for number in (0, 7):
        members = values[ensemble["class"].values == number]
        np.testing.assert_allclose(found.value.sel({"class": number}), members.mean(0), rtol=1e-6)
        error = members.std(0, ddof=1) / len(members) ** 0.5
        np.testing.assert_allclose(found.error.sel({"class": number}), error, rtol=0.02, atol=1e-9)


def test_the_classifier_is_right_about_classes_it_can_know():
    """Two Gaussian classes at distance 2 d: the error rate is that of the normal law, Phi(-d), within its error."""
    rng, count, d = np.random.default_rng(1), 4000, 1.2
    classes = rng.integers(0, 2, count)
    values = rng.standard_normal((count, 2, 2))
    values[:, 0, 0] += np.where(classes == 1, d, -d)
    wrong = (fit_classifier(values, classes)(values.astype(np.float32)) != classes).mean()
    expected = 0.11506967022170822  # Phi(-1.2)
    assert abs(wrong - expected) < 4 * (expected * (1 - expected) / count) ** 0.5 + 4 / count


def test_digits_are_judged_by_a_classifier_that_did_not_see_them():
    domain, ensemble = digits(0)
    reference, other = ensemble.isel(sample=slice(0, 900)), ensemble.isel(sample=slice(900, 1797))
    framed = domain.confront(reference, reference, "the reference")
    held, new = class_agreement(framed), class_agreement(domain.confront(reference, other, "other"))
    assert float(held.value) > 0.9
    assert abs(float(held.value - new.value)) < 4 * float(np.hypot(held.error, new.error))
    asked = other.assign({"class": (other["class"].dims, (other["class"].values + 1) % 10, other["class"].attrs)})
    assert float(class_agreement(domain.confront(reference, asked, "other")).value) < 0.05
    found = class_fractions(framed)
    assert float(found.value.sum()) == pytest.approx(1)


def test_sets_that_cannot_be_compared_are_refused():
    domain, ensemble = digits(40)
    other = image_ensemble(draw_leaves(8, 8, RADII, 256, 1), 256).assign_attrs(domain="images")
    with pytest.raises(InputError, match="256 grey levels"):
        domain.confront(ensemble, other, "other")


# --- files ------------------------------------------------------------------------------------------------


def idx(path, values, squeeze=False):
    kind = {np.dtype("uint8"): 8, np.dtype(">f4"): 0x0D}[values.dtype]
    content = bytes([0, 0, kind, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape) + values.tobytes()
    path.write_bytes(gzip.compress(content) if squeeze else content)
    return path


PIXELS = np.random.default_rng(4).integers(0, 256, (6, 5, 7)).astype(np.uint8)
KINDS = np.array([3, 1, 4, 1, 5, 9], dtype=np.uint8)


@pytest.mark.parametrize("squeeze", [False, True])
def test_idx_files_are_read_plain_and_compressed(tmp_path, squeeze):
    images, labels = idx(tmp_path / "images", PIXELS, squeeze), idx(tmp_path / "labels", KINDS, squeeze)
    made = IMAGES.load("idx", [images], labels=str(labels))
    assert np.array_equal(made.field, PIXELS) and made["class"].values.tolist() == KINDS.tolist()
    assert made.attrs["grey_levels"] == 256 and made.y.attrs["positive"] == "down"
    some = IMAGES.load("idx", [images], labels=str(labels), keep="1,9", count="2")
    assert np.array_equal(some.field, PIXELS[[1, 3]])
    content = images.read_bytes() if not squeeze else gzip.decompress(images.read_bytes())
    for wrong in (content[:-1], content + b"\0", content[:5], b"\x89PNG", b"", b"\x1f\x8bno gzip"):
        (tmp_path / "bad").write_bytes(wrong)
        with pytest.raises(InputError, match="bad"):
            IMAGES.load("idx", [tmp_path / "bad"])
    with pytest.raises(InputError, match="labels"):
        IMAGES.load("idx", [labels])


def test_idx_files_of_real_values_have_no_levels(tmp_path):
    made = IMAGES.load("idx", [idx(tmp_path / "real", (PIXELS / 7).astype(">f4"))])
    assert "grey_levels" not in made.attrs
    np.testing.assert_allclose(made.field, PIXELS / 7, rtol=1e-6)


def batch(count=3, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, 3072)).astype(np.uint8), rng.integers(0, 10, count)


def test_both_versions_of_cifar_give_the_same_images(tmp_path):
    data, labels = batch()
    binary, python = tmp_path / "data_batch_1.bin", tmp_path / "data_batch_1"
    binary.write_bytes(np.concatenate([labels[:, None].astype(np.uint8), data], axis=1).tobytes())
    python.write_bytes(pickle.dumps({b"data": data, b"labels": labels.tolist(), b"batch_label": b"one"}, protocol=2))
    one, other = IMAGES.load("cifar", [binary]), IMAGES.load("cifar", [python])
    assert np.array_equal(one.field, data.reshape(3, 3, 32, 32)) and np.array_equal(other.field, one.field)
    assert one["class"].values.tolist() == other["class"].values.tolist() == labels.tolist()
    assert one.component.values.tolist() == ["red", "green", "blue"]
    hundred = tmp_path / "train.bin"
    rows = np.concatenate([np.array([[1, 70], [2, 80], [3, 90]], np.uint8), data], axis=1)
    hundred.write_bytes(rows.tobytes())
    assert IMAGES.load("cifar", [hundred])["class"].values.tolist() == [70, 80, 90]
    assert IMAGES.load("cifar", [hundred], labels="coarse")["class"].values.tolist() == [1, 2, 3]


class Runs:
    """A pickle that would run a command."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_nothing_of_a_pickle_is_run(tmp_path):
    bad, mark = tmp_path / "data_batch_1", tmp_path / "ran"
    bad.write_bytes(pickle.dumps({b"data": Runs(mark), b"labels": [1]}))
    with pytest.raises(InputError, match="only arrays are read"):
        IMAGES.load("cifar", [bad])
    assert not mark.exists()
    for wrong in (b"", b"no pickle", pickle.dumps([1]), pickle.dumps({b"data": np.zeros((2, 5)), b"labels": [1, 2]})):
        bad.write_bytes(wrong)
        with pytest.raises(InputError, match="batch"):
            IMAGES.load("cifar", [bad])


def png(path, values):
    from PIL import Image

    path.parent.mkdir(exist_ok=True)
    Image.fromarray(values).save(path)


def test_folders_of_png_are_read_in_order_with_their_classes(tmp_path):
    for number, values in enumerate(PIXELS):
        png(tmp_path / "all" / f"{number}.png", values)
        png(tmp_path / "set" / f"{'ab'[number % 2]}-{number}.png", values)
    made = IMAGES.load("png", [tmp_path / "all"])
    assert np.array_equal(made.field, PIXELS) and "class" not in made
    for number, values in enumerate(PIXELS):
        (tmp_path / "classes").mkdir(exist_ok=True)
        png(tmp_path / "classes" / "ab"[number % 2] / f"{number}.png", values)
    known = IMAGES.load("png", [tmp_path / "classes"], classes="folders")
    assert (
        np.array_equal(known.field, PIXELS[[0, 2, 4, 1, 3, 5]]) and known["class"].values.tolist() == [0] * 3 + [1] * 3
    )
    colour = np.stack([PIXELS[0], PIXELS[1], PIXELS[2]], axis=-1)
    png(tmp_path / "rgb.png", colour)
    assert np.array_equal(IMAGES.load("png", [tmp_path / "rgb.png"]).field[0], np.moveaxis(colour, -1, 0))
    png(tmp_path / "all" / "9.png", PIXELS[0, :4])
    with pytest.raises(InputError, match=r"different sizes: 0.png \(5, 7\), 9.png \(4, 7\)"):
        IMAGES.load("png", [tmp_path / "all"])
    (tmp_path / "all" / "9.png").write_bytes(b"nothing")
    with pytest.raises(InputError, match="no PNG file"):
        IMAGES.load("png", [tmp_path / "all"])


@pytest.mark.parametrize("form", ["NHW", "NHWC", "NCHW"])
def test_arrays_are_read_in_every_usual_form(tmp_path, form):
    values = np.random.default_rng(0).integers(0, 256, (4, 3, 6, 5)).astype(np.uint8)
    saved = {"NHW": values[:, 0], "NHWC": np.moveaxis(values, 1, -1), "NCHW": values}[form]
    np.save(tmp_path / "a.npy", saved)
    np.save(tmp_path / "c.npy", np.arange(4))
    made = IMAGES.load("images_npy", [tmp_path / "a.npy"], labels=str(tmp_path / "c.npy"))
    assert np.array_equal(made.field, values[:, 0] if form == "NHW" else values)
    assert made["class"].values.tolist() == [0, 1, 2, 3] and made.attrs["grey_levels"] == 256


@pytest.mark.parametrize(
    ("values", "options", "said"),
    [
        (np.zeros((4, 3, 5, 3)), {}, "both could be"),
        (np.zeros((4, 5, 6, 7)), {}, "neither is"),
        (np.zeros((4, 5)), {}, "shape"),
        (np.full((2, 4, 4), 0.5), {"levels": "4"}, "between whole numbers"),
        (np.full((2, 4, 4), 9), {"levels": "4"}, "levels=4"),
        (np.full((2, 4, 4), np.nan), {}, "holds nan"),
        (np.zeros((2, 4, 4)), {"count": "7"}, "there are 2 images"),
        (np.zeros((2, 4, 4)), {"keep": "1"}, "have not"),
        (np.zeros((2, 4, 4)), {"labels": "none.npy"}, "does not exist"),
        (np.zeros((2, 4, 4)), {"count": "two"}, "whole number"),
    ],
)
def test_arrays_that_are_no_images_are_refused(tmp_path, values, options, said):
    np.save(tmp_path / "a.npy", values)
    with pytest.raises(InputError, match=said):
        IMAGES.load("images_npy", [tmp_path / "a.npy"], **options)


def test_an_array_in_memory_takes_the_levels_of_the_data_it_is_compared_with():
    import physgen

    _, ensemble = digits(30)
    made = IMAGES.adopt(physgen.from_array(ensemble.field.values), like=ensemble)
    assert made.attrs["grey_levels"] == 17 and int(made.attrs["periodic"]) == 0 and made.y.attrs["units"] == "pixel"
    assert IMAGES.adopt(physgen.from_array(PIXELS)).attrs["grey_levels"] == 256
    with pytest.raises(InputError, match="whole numbers"):
        IMAGES.adopt(physgen.from_array(PIXELS, labels={"class": np.arange(6) + 0.5}))


# --- cards ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["images-digits", "images-dead-leaves"])
def test_the_recipe_makes_the_data_of_the_card(name):
    """Of dead leaves the first 200 alone: each image depends on its own number."""
    import hashlib

    written = yaml.safe_load((ROOT / f"datasets/{name}/dataset.yaml").read_text())
    words = ["data.count=200"] if name == "images-dead-leaves" else []
    experiment = load_config(ROOT / written["recipe"], words)
    made = experiment.data.simulate(experiment.seed)
    assert experiment.seed == written["seed"]
    whole = load_config(ROOT / written["recipe"]).data
    assert written["shape"]["sample"] == (whole.count or 1797) and made.sizes["y"] == written["shape"]["y"]
    digest = hashlib.sha256(np.ascontiguousarray(made.field.values)).hexdigest()
    assert digest == written["sha256"]["field"], "field differs, update the card"
    assert json.loads(made.attrs["config_json"])["source"] == whole.source
