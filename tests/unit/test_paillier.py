"""Paillier's encryption against plain integers, against phe, and against what no honest peer sends."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols import codec
from protocols.errors import CodecError, RangeError
from protocols.paillier import ciphertexts, keys, product
from protocols.paillier.fixed_base import FixedBase, Powers, window_for
from protocols.paillier.keys import PrivateKey, PublicKey
from protocols.paillier.library import gmpy2, phe
from protocols.paillier.packing import Packing

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "packing.json").read_text())
#: Long enough for all slots below, short enough to be fast.
BITS = 768


@pytest.fixture(scope="module")
def key() -> PrivateKey:
    return keys.generate(BITS)


# --- Packing -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", VECTORS["valid"])
def test_known_answers(case):
    packing = Packing(case["slots"], case["bits"])
    assert packing.pack(case["numbers"], case["modulus"]) == case["plaintext"]
    unpacked = packing.unpack(case["plaintext"], case["modulus"])
    assert unpacked == case["numbers"] + [0] * (case["slots"] - len(case["numbers"]))


@pytest.mark.parametrize("case", VECTORS["refused"], ids=lambda case: case["why"])
def test_numbers_beyond_their_slots(case):
    with pytest.raises(RangeError, match="nothing was sent"):
        Packing(case["slots"], case["bits"]).pack(case["numbers"], case["modulus"])


@pytest.mark.parametrize("case", VECTORS["overflown"], ids=lambda case: case["why"])
def test_plaintexts_beyond_their_slots(case):
    with pytest.raises(RangeError, match="a number left its range"):
        Packing(case["slots"], case["bits"]).unpack(case["plaintext"], case["modulus"])


@given(st.data())
def test_sums_of_packed_numbers(data):
    packing = Packing(data.draw(st.integers(1, 6)), data.draw(st.integers(3, 70)))
    quarter = 1 << (packing.bits - 2)
    numbers = st.lists(st.integers(-quarter, quarter - 1), min_size=packing.slots, max_size=packing.slots)
    a, b = data.draw(numbers), data.draw(numbers)
    modulus = (1 << (packing.slots * packing.bits + 2)) - 1
    total = (packing.pack(a, modulus) + packing.pack(b, modulus)) % modulus
    assert packing.unpack(total, modulus) == [x + y for x, y in zip(a, b, strict=True)]


def test_capacity():
    assert Packing.of(3072, 300) == Packing(10, 300)
    with pytest.raises(ValueError, match="do not fit a plaintext"):
        Packing.of(256, 255)


# --- Powers ------------------------------------------------------------------------------------------


@given(st.integers(0, (1 << 90) - 1), st.integers(2, 8))
def test_powers_of_one_base(exponent, window):
    assert FixedBase(7, 1000003, 90, window).power(exponent) == pow(7, exponent, 1000003)


def test_tables_are_made_once_unless_a_larger_one_pays():
    powers = Powers(7, 1000003)
    small = powers.table(200, 1)
    assert powers.table(200, 1) is small
    large = powers.table(200, 10_000)
    assert large is not small
    assert powers.table(200, 1) is large
    assert window_for(3072, 1) < window_for(3072, 10_000)


# --- Keys --------------------------------------------------------------------------------------------


def test_the_standard_key_is_of_128_bit_security():
    assert keys.BITS == 3072  # NIST SP 800-57 part 1, table 2


def test_keys(key):
    p, q = key._phe.p, key._phe.q
    assert p % 4 == q % 4 == 3
    assert int(key.n).bit_length() == BITS
    # h is an n-th residue: its order divides λ, so it encrypts 0; and its symbol is 1.
    assert key.decrypt([key.h]) == [0]
    assert keys.decode(key.public.encode(), "b", bits=BITS) == key
    assert isinstance(key.public, PublicKey)
    assert not isinstance(key.public, PrivateKey)
    assert str(p) not in repr(key)
    with pytest.raises(TypeError, match="cannot be copied or stored"):
        key.__reduce__()


def encoded(n: int, h: int, bits: int = BITS) -> bytes:
    return codec.encode([int(n).to_bytes(bits // 8, "little"), int(h).to_bytes(bits // 4, "little")])


def malformed(key: PrivateKey) -> dict[str, bytes]:
    """Keys that are refused, by why."""
    n, h, p = int(key.n), int(key.h), int(key._phe.p)
    prime = int(gmpy2().prev_prime(1 << BITS))
    square = int(gmpy2().prev_prime(1 << BITS // 2)) ** 2
    smooth = 65521 * int(gmpy2().prev_prime((1 << BITS) // 65521))
    wrong = next(x for x in range(2, 100) if gmpy2().jacobi(x, n) == -1)
    return {
        "is even": encoded(n - 1, h),
        "has a small factor": encoded(smooth, h),
        "is a prime or a power": encoded(prime, h),
        "is a prime or a power ": encoded(square, h),
        "has 767 bits where": encoded(n >> 1 | 1, h),
        "is trivial or no unit": encoded(n, 1),
        "is trivial or no unit ": encoded(n, n * n - 1),
        "is trivial or no unit  ": encoded(n, p),
        "has the wrong symbol": encoded(n, wrong),
        "no Paillier key of": codec.encode([b"", b""]),
        "no Paillier key of ": codec.encode("key"),
    }


def test_malformed_keys_are_refused(key):
    for why, message in malformed(key).items():
        with pytest.raises(CodecError, match=why.strip()) as caught:
            keys.decode(message, "b", bits=BITS)
        assert caught.value.peer == "b"
    with pytest.raises(CodecError, match="no Paillier key of 3072 bits"):
        keys.decode(key.public.encode(), "b")
    with pytest.raises(CodecError):
        keys.decode(key.public.encode() + b"\x00", "b", bits=BITS)


# --- Ciphertexts -------------------------------------------------------------------------------------


def test_encryption_agrees_with_phe(key):
    plaintexts = [0, 1, -1, int(key.n) // 2, 12345]
    for owner in (False, True):
        for encrypting in (key, key.public):
            made = ciphertexts.encrypt(encrypting, plaintexts, owner=owner)
            assert key.decrypt(made) == [plain % key.n for plain in plaintexts]
            assert key._phe.raw_decrypt(int(made[4])) == 12345
            assert len({*map(int, made)}) == len(made)
    theirs = phe().PaillierPublicKey(int(key.n)).raw_encrypt(777)
    assert key.decrypt([gmpy2().mpz(theirs)]) == [777]


def test_the_owner_computes_the_same_powers(key):
    exponent = 0x1234567890ABCDEF << 100 | 1
    bits = BITS // 2
    expected = gmpy2().powmod(key.h, exponent, key.square)
    assert key._powers(bits, 5)(exponent) == key.public._powers(bits, 5)(exponent) == expected


def test_what_goes_to_the_owner_has_longer_exponents(key, monkeypatch):
    asked: list[int] = []

    def recorded(bits: int) -> int:
        asked.append(bits)
        return 1 << (bits - 1)

    monkeypatch.setattr(keys.secrets, "randbits", recorded)
    key.public.residues(1)
    key.public.residues(1, owner=True)
    assert asked == [BITS // 2, BITS + keys.SECURITY]


@given(st.lists(st.tuples(st.integers(-99, 99), st.integers(-(2**70), 2**70)), min_size=1, max_size=9))
@settings(max_examples=15, deadline=None)
def test_sums_of_products(terms):
    key = KEY
    encrypted = ciphertexts.encrypt(key, [m for m, _ in terms])
    rows = [[w for _, w in terms], [w // 3 for _, w in terms]]
    expected = [sum(m * w for (m, _), w in zip(terms, row, strict=True)) % key.n for row in rows]
    assert key.decrypt(ciphertexts.weigh(key, encrypted, rows)) == expected
    assert key.decrypt(ciphertexts.weigh(key, encrypted, rows[:1])) == expected[:1]


#: For hypothesis, which takes no fixtures of functions.
KEY = keys.generate(256)


def test_malformed_ciphertexts_are_refused(key):
    good = ciphertexts.encrypt(key, [1, 2])
    assert ciphertexts.decode(key, ciphertexts.encode(key, good), 2, "b") == good
    p = gmpy2().mpz(int(key._phe.p))
    for bad, why in (
        (gmpy2().mpz(0), "beyond its modulus"),
        (key.square, "beyond its modulus"),
        (1 + key.square, "beyond its modulus"),  # a ciphertext of 0, not canonical
        (p, "no unit"),
        (key.n, "no unit"),
        (p * 17 % key.square, "no unit"),
    ):
        message = ciphertexts.encode(key, [good[0], bad])
        with pytest.raises(CodecError, match=why) as caught:
            ciphertexts.decode(key, message, 2, "b")
        assert caught.value.peer == "b"
        assert str(int(bad)) not in str(caught.value) or int(bad) == 0
    words = codec.decode(ciphertexts.encode(key, good))
    for message in (
        codec.encode(words[:1]),
        codec.encode(words[:, :-1]),
        codec.encode(words.astype(np.int64)),
        codec.encode([1, 2]),
        codec.encode(words)[:-1],
    ):
        with pytest.raises(CodecError):
            ciphertexts.decode(key, message, 2, "b")


# --- Products of two parties -------------------------------------------------------------------------


def integers(rng: np.random.Generator, shape: tuple[int, ...], bits: int) -> np.ndarray:
    flat = [int.from_bytes(rng.bytes(32)) % (1 << bits) for _ in range(int(np.prod(shape)))]
    signs = rng.choice([-1, 1], len(flat)).tolist()
    return np.array([s * v for s, v in zip(signs, flat, strict=True)], object).reshape(shape)


@pytest.mark.parametrize(
    ("rows", "terms", "columns", "left", "right"),
    [(1, 1, 1, 127, 127), (1, 10, 1, 20, 20), (1, 7, 3, 30, 1), (5, 3, 2, 60, 60), (2, 4, 1, 127, 127)],
)
def test_matrix_products_are_shared(key, rows, terms, columns, left, right):
    rng = np.random.default_rng(rows + terms)
    shape = product.Shape(rows, terms, columns, left, right)
    x, y = integers(rng, (rows, terms), left), integers(rng, (terms, columns), right)
    x.flat[0], y.flat[0] = -(1 << left) + 1, (1 << right) - 1  # the bounds
    answer, ours = product.answer_matrix(
        keys.decode(key.public.encode(), "a", bits=BITS), shape, y, product.offer_matrix(key, shape, x), "a"
    )
    theirs = product.finish_matrix(key, shape, answer, "b")
    assert ours.shape == theirs.shape == (rows, columns)
    assert np.array_equal(ours + theirs, x @ y)


def test_extremes_do_not_carry(key):
    # All numbers as large as they may be, and the largest mask: no slot runs into the next one.
    shape = product.Shape(1, 9, 1, 30, 30)
    x = np.full((1, 9), -(1 << 30) + 1, object)
    for y in (np.full((9, 1), (1 << 30) - 1, object), np.full((9, 1), -(1 << 30) + 1, object)):
        answer, ours = product.answer_matrix(key.public, shape, y, product.offer_matrix(key, shape, x), "a")
        assert np.array_equal(ours + product.finish_matrix(key, shape, answer, "b"), x @ y)


def test_products_entry_by_entry(key):
    shape = product.Shape(1, 1, 1, 60, 60)
    x, y = (integers(np.random.default_rng(k), (11,), 60) for k in range(2))
    answer, ours = product.answer_entries(key.public, shape, y, product.offer_entries(key, x), "a")
    assert np.array_equal(ours + product.finish_entries(key, shape, 11, answer, "b"), x * y)


def test_an_answer_says_nothing_of_the_numbers(key, monkeypatch):
    shape = product.Shape(1, 4, 1, 20, 20)
    x, y = np.array([[1, 2, 3, 4]], object), np.array([[5], [6], [7], [8]], object)
    offer = product.offer_matrix(key, shape, x)
    answers = [product.answer_matrix(key.public, shape, y, offer, "a") for _ in range(2)]
    shares = [product.finish_matrix(key, shape, answer, "b").item() for answer, _ in answers]
    # The mask is 40 bits longer than the sum, and a ciphertext is never the same twice.
    assert answers[0][0] != answers[1][0]
    assert shares[0] != shares[1]
    assert all(abs(share) > 1 << 43 for share in shares)
    monkeypatch.setattr(product, "_mask", lambda _: 0)
    unmasked, _ = product.answer_matrix(key.public, shape, y, offer, "a")
    assert product.finish_matrix(key, shape, unmasked, "b").item() == 70  # what the masks hide


def test_randomness_of_an_answer_is_not_that_of_the_offer(key, monkeypatch):
    # Its owner can compute the residue of a ciphertext: without rerandomisation it shows the weights.
    shape = product.Shape(1, 1, 1, 20, 20)
    x, y = np.array([[3]], object), np.array([[5]], object)
    offer = product.offer_matrix(key, shape, x)
    (offered,) = ciphertexts.decode(key, offer, 1, "a")

    def residue(ciphertext: int) -> int:
        (plain,) = key.decrypt([ciphertext])
        return ciphertext * gmpy2().invert(1 + key.n * plain, key.square) % key.square

    def answered() -> int:
        (ciphertext,) = ciphertexts.decode(
            key, product.answer_matrix(key.public, shape, y, offer, "a")[0], 1, "b"
        )
        return residue(ciphertext)

    telling = gmpy2().powmod(residue(offered), 5, key.square)
    assert answered() != telling
    monkeypatch.setattr(PublicKey, "residues", lambda _, count, owner=False: [gmpy2().mpz(1)] * count)
    assert answered() == telling


def test_answers_of_other_shapes_are_refused(key):
    shape, other = product.Shape(2, 3, 2, 20, 20), product.Shape(2, 4, 2, 20, 20)
    x = np.ones((2, 3), object)
    offer = product.offer_matrix(key, shape, x)
    with pytest.raises(CodecError, match="no 4 ciphertexts"):
        product.answer_matrix(key.public, other, np.ones((4, 2), object), offer, "a")
    with pytest.raises(CodecError, match="no 2 ciphertexts"):
        product.finish_matrix(key, shape, offer, "b")


def test_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "phe.paillier", None)
    with pytest.raises(ImportError, match=r"pip install 'fedstats\[he\]'"):
        phe()
