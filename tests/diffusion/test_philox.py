"""The counter-based generator: known answers of its authors, and three engines that give the same bits."""

import math
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from physgen.diffusion import philox, philox_numba, philox_triton

# kat_vectors of Random123 (philox4x32 10): counter, key, words
KNOWN_ANSWERS = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]
KEYS = [(0, 0), (0xFFFFFFFF, 0x12345678)]
SECONDS = [0, 7, 2**31, 2**32 - 1]
INDEX = torch.tensor([0, 5, -1, 2**63 - 1, 2**32 + 5])
ROWS, LENGTH = 3, 2200  # of the stand-in, more than two programs


def hexadecimal(text):
    return [int(word, 16) for word in text.split()]


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN_ANSWERS)
def test_torch_gives_the_known_answers(counter, key, expected):
    counter = tuple(map(torch.tensor, hexadecimal(counter)))
    assert list(map(int, philox.philox(counter, tuple(hexadecimal(key))))) == hexadecimal(expected)


@pytest.mark.parametrize("engine", [philox.TORCH, philox_numba.engine()], ids=lambda engine: engine.name)
@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN_ANSWERS)
def test_engines_give_the_known_answers_at_their_place(engine, counter, key, expected):
    """The counter is (block, step and plane, index low, index high); a far block by its neighbours in plain torch."""
    (block, second, low, high), key = hexadecimal(counter), tuple(hexadecimal(key))
    index = torch.tensor([(low + (high << 32) + 2**63) % 2**64 - 2**63])
    if block:  # a row of 2^34 values does not fit: the integers of a reference, at the first block
        block, expected = 0, None
    words = engine.words(key, index, second, 4)[0].tolist()
    assert words == (reference(block, second, low, high, key) if expected is None else hexadecimal(expected))


def reference(c0, c1, c2, c3, key):
    """Philox4x32-10 in Python's whole numbers."""
    k0, k1 = key
    for _ in range(10):
        p0, p1 = c0 * 0xD2511F53, c2 * 0xCD9E8D57
        c0, c1, c2, c3 = (p1 >> 32) ^ c1 ^ k0, p1 % 2**32, (p0 >> 32) ^ c3 ^ k1, p0 % 2**32
        k0, k1 = (k0 + 0x9E3779B9) % 2**32, (k1 + 0xBB67AE85) % 2**32
    return [c0, c1, c2, c3]


def test_words_of_a_row_are_those_of_its_blocks():
    key, index, second = (123, 456), 2**40 + 3, 17
    low, high = index % 2**32, index >> 32
    expected = [word for block in range(3) for word in reference(block, second, low, high, key)]
    assert philox.words(key, torch.tensor([index]), second, 11)[0].tolist() == expected[:11]


@pytest.mark.parametrize("count", [1, 2, 3, 5, 1023, 1024, 1025, 2**15 + 2])
def test_compiled_and_plain_code_give_the_same_bits(count):
    fast = philox_numba.engine()
    for key in KEYS:
        for second in SECONDS:
            for made in ("words", "normals"):
                assert torch.equal(
                    getattr(fast, made)(key, INDEX, second, count),
                    getattr(philox.TORCH, made)(key, INDEX, second, count),
                )


@pytest.mark.parametrize("count", [1, 2, 3, 5, 1023, 1025])
def test_float64_engines_agree_to_rounding(count):
    for second in SECONDS:
        fast, plain = (e.wide(KEYS[1], INDEX, second, count) for e in (philox_numba.engine(), philox.TORCH))
        # log, root, cosine and product each within a unit in the last place of one or the other
        assert float(((fast - plain) / plain).abs().max()) < 8 * 2**-52


def test_the_number_of_threads_changes_nothing():
    index, count, threads = torch.arange(7), philox_numba.THREADED // 5, torch.get_num_threads()
    made = []
    try:
        for number in (1, 2, 3):
            torch.set_num_threads(number)
            made.append(philox_numba.engine().normals((1, 2), index, 0, count))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(made[0], made[1])
    assert torch.equal(made[0], made[2])


class Block(np.ndarray):
    """What the kernel asks of a Triton tensor."""

    def to(self, dtype, bitcast=False):
        return (self.view(dtype) if bitcast else self.astype(dtype)).view(Block)


def stand_in(program):
    """``triton.language`` in numpy, for one program of a launch; a pointer is (array, offsets)."""

    class Pointer:
        def __init__(self, array, offsets=0):
            self.array, self.offsets = array, offsets

        def __add__(self, offsets):
            return Pointer(self.array, self.offsets + offsets)

    def store(pointer, value, mask):
        pointer.array.reshape(-1)[pointer.offsets[mask]] = value[mask]

    language = SimpleNamespace(
        int32=np.int32, int64=np.int64, uint32=np.uint32, float32=np.float32,
        program_id=lambda axis: np.array([program], np.int32).view(Block),
        arange=lambda start, stop: np.arange(start, stop).view(Block),
        load=lambda pointer: pointer.array[pointer.offsets].view(Block),
        store=store,
        zeros_like=np.zeros_like,
        umulhi=lambda x, y: (x.astype(np.uint64) * np.uint64(y) >> np.uint64(32)).astype(np.uint32).view(Block),
        where=lambda which, x, y: np.where(which, x, y).view(Block),
        sqrt_rn=np.sqrt,
    )  # fmt: skip
    return language, Pointer


@pytest.mark.parametrize("normal", [False, True])
@pytest.mark.parametrize("second", [7, 2**31 + 7])
def test_the_text_of_the_triton_kernel_gives_the_same_bits(normal, second, monkeypatch):
    """Run in numpy: what Triton itself does with it, only a GPU can tell, and its engine tries that at first use."""
    key, index = (0xA4093822, 5), torch.tensor([0, -1, 2**40 + 1])
    made = np.full((ROWS, LENGTH), -9, np.float32 if normal else np.int64)
    signed = [np.array(philox_triton._signed(word), np.int32).view(Block) for word in (*key, second)]
    programs = ROWS * -(-LENGTH // (2 * philox_triton.PAIRS))
    for program in range(programs):
        language, pointer = stand_in(program)
        monkeypatch.setattr(philox_triton, "tl", language)
        philox_triton.fill(
            pointer(made), pointer(index.numpy()), *signed, LENGTH, WIDTH=philox_triton.PAIRS, NORMAL=normal
        )
    expected = (philox.normals if normal else philox.words)(key, index, second, LENGTH)
    assert torch.equal(torch.from_numpy(made), expected)


def test_float32_normals_keep_their_digits_at_every_word():
    """Extreme words, where a logarithm near 0 or an angle near a multiple of a quarter turn could lose them."""
    edges = [0, 1, 2, 2**29 - 1, 2**29, 2**30 - 1, 2**30, 2**31 - 1, 2**31, 3 * 2**30, 2**32 - 2, 2**32 - 1]
    generator = torch.Generator().manual_seed(0)
    some = torch.cat([torch.tensor(edges), torch.randint(2**32, (2000,), generator=generator)])
    a, b = (axis.flatten() for axis in torch.meshgrid(some, some, indexing="ij"))
    wide = philox.wide_normals(torch.stack([a, b], 1).flatten()[None]).unflatten(1, (-1, 2))[0]
    narrow = torch.stack(philox._box_muller(a, b), 1)
    # the polynomials err by 2^-24, and five operations round by 2^-25 on the way to a radius, an angle and a product
    assert float(((narrow - wide) / wide).abs().max()) < 8 * 2**-24


def test_float64_normals_are_the_formula():
    words = torch.tensor([[0, 0, 2**32 - 1, 2**31, 12345, 2**30 + 7]])
    found = philox.wide_normals(words)[0].tolist()
    for first, (a, b) in enumerate([(0, 0), (2**32 - 1, 2**31), (12345, 2**30 + 7)]):
        u, angle = (a + 0.5) / 2**32, 2 * math.pi * (b + 0.5) / 2**32
        radius = math.sqrt(-2 * (math.log(u) if u < 0.5 else math.log1p(-(2**32 - a - 0.5) / 2**32)))
        assert found[2 * first] == pytest.approx(radius * math.cos(angle), abs=4e-16 * radius)
        assert found[2 * first + 1] == pytest.approx(radius * math.sin(angle), abs=4e-16 * radius)


def test_the_largest_number_is_the_one_stated():
    assert float(philox.wide_normals(torch.tensor([[0, 0]]))[0, 0]) == pytest.approx(math.sqrt(66 * math.log(2)))


@pytest.mark.parametrize("beyond", [3.0, 4.5, 5.5, 6.0, 6.5])
def test_the_tail_is_right_to_two_percent_up_to_six_and_a_half_sigma(beyond):
    """Exactly: the sum over all 2^32 radii, the angle being uniform to 2^-32."""
    u_largest = math.exp(-(beyond**2) / 2)  # smaller u have a radius beyond
    k = torch.arange(min(int(u_largest * 2**32 + 1), 2**24), dtype=torch.float64)
    stride = max(1.0, u_largest * 2**32 / 2**24)  # of many radii every so many
    u = (k * stride + stride / 2 if stride > 1 else k + 0.5) / 2**32
    u = u[u < u_largest]
    found = float((2 / math.pi * torch.acos(beyond / (-2 * torch.log(u)).sqrt())).sum()) * stride / 2**32
    assert found == pytest.approx(math.erfc(beyond / math.sqrt(2)), rel=0.02)


def test_whole_numbers_take_64_bits():
    high, low = torch.tensor([0, 2**32 - 1, 2**31, 0x12345678]), torch.tensor([0, 2**32 - 1, 0, 0x9ABCDEF0])
    for below in (1, 2, 48, 2**31 - 1, 2**31):
        expected = [(int(h) * 2**32 + int(w)) * below >> 64 for h, w in zip(high, low, strict=True)]
        assert philox.integers(high, low, below).tolist() == expected


def test_uniform_numbers_are_centres_of_bins_and_never_0_or_1():
    high, low = torch.tensor([0, 2**32 - 1, 2**31]), torch.tensor([0, 2**32 - 1, 0])
    assert philox.uniforms(high, None).tolist() == [2**-24, 1 - 2**-24, 0.5 + 2**-24]
    assert philox.uniforms(high, low).tolist() == [2**-53, 1 - 2**-53, 0.5 + 2**-53]


def test_without_numba_plain_torch_draws_the_same(monkeypatch):
    from physgen.diffusion import noise

    expected = noise.noise_like(3, "start", range(5), (7,))
    monkeypatch.setitem(sys.modules, "numba", None)
    philox_numba.engine.cache_clear()
    noise.engine_of.cache_clear()
    try:
        assert noise.engine_of("cpu") is philox.TORCH
        assert torch.equal(noise.noise_like(3, "start", range(5), (7,)), expected)
    finally:
        noise.engine_of.cache_clear()
