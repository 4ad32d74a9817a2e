from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from protocols.errors import LabelReused
from protocols.party import MAX_LABEL, Party
from protocols.prg import BLOCK, Seed, Stream
from transport.memory import memory_meshes

KEY, SESSION = bytes(range(32)), bytes(range(32, 64))


def words(stream: Stream, *sizes: int) -> np.ndarray:
    parts = [np.full(size, 7, np.uint64) for size in sizes]
    for part in parts:
        stream.fill(part)
    return np.concatenate(parts)


def test_is_aes_in_counter_mode_under_a_derived_key():
    info = b"fedstats v1 mask stream\x00total"
    material = HKDF(SHA256(), 32, salt=SESSION, info=info).derive(KEY)
    cipher = Cipher(algorithms.AES128(material[:16]), modes.CTR(material[16:]))
    expected = cipher.encryptor().update(bytes(8 * 100))
    assert words(Seed(KEY, SESSION).stream("total"), 100).tobytes() == expected


@pytest.mark.parametrize(
    "sizes", [(100_000,), (1, 99_999), (BLOCK // 8, 1, 0, 100_000 - BLOCK // 8 - 1), (3, 5)]
)
def test_how_it_is_read_does_not_matter(sizes):
    expected = words(Seed(KEY, SESSION).stream("total"), 100_000)[: sum(sizes)]
    assert (words(Seed(KEY, SESSION).stream("total"), *sizes) == expected).all()


def test_matrices_are_filled_in_order():
    matrix = np.empty((50, 34), np.uint64)
    Seed(KEY, SESSION).stream("total").fill(matrix)
    assert (matrix.ravel() == words(Seed(KEY, SESSION).stream("total"), 50 * 34)).all()


def test_every_part_of_the_name_changes_the_stream():
    streams = [
        Seed(KEY, SESSION).stream("total"),
        Seed(KEY[::-1], SESSION).stream("total"),
        Seed(KEY, SESSION[::-1]).stream("total"),
        Seed(KEY, SESSION).stream("totals"),
    ]
    assert len(np.unique([words(stream, 1)[0] for stream in streams])) == len(streams)


def test_a_stream_cannot_be_copied_or_shown():
    stream = Seed(KEY, SESSION).stream("total")
    for duplicate in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="cannot be copied"):
            duplicate(stream)
    assert repr(stream) == "<Stream>"


def test_a_seed_cannot_be_copied_or_shown():
    seed = Seed(KEY, SESSION)
    for duplicate in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="cannot be copied"):
            duplicate(seed)
    assert repr(seed) == "<Seed>"


def test_two_parties_share_a_stream_that_no_other_pair_has():
    parties = {name: Party(mesh) for name, mesh in memory_meshes("abc").items()}
    first = {
        (me, peer): int(words(stream, 1)[0])
        for me, party in parties.items()
        for peer, stream in party.streams("total").items()
    }
    assert all(first[me, peer] == first[peer, me] for me, peer in first)
    assert len(set(first.values())) == 3


def test_a_label_is_used_once():
    party = Party(memory_meshes("ab")["a"])
    party.claim("one")
    party.streams("two")
    for label in ("one", "two"):
        with pytest.raises(LabelReused, match=label):
            party.claim(label)
        with pytest.raises(LabelReused, match=label):
            party.streams(label)


@pytest.mark.parametrize("label", ["", "x" * (MAX_LABEL + 1), "é" * MAX_LABEL])
def test_labels_have_bounds(label):
    with pytest.raises(ValueError, match="a label has"):
        Party(memory_meshes("ab")["a"]).claim(label)


def test_a_party_knows_its_place_and_shows_no_key():
    meshes = memory_meshes(["zoe", "amy", "bob"])
    party = Party(meshes["bob"])
    assert (party.me, party.roster, party.n, party.index) == ("bob", ("amy", "bob", "zoe"), 3, 1)
    assert party.peers == ("amy", "zoe")
    assert repr(party) == "<Party bob, 2 of 3>"


def test_transcripts_differ_by_session_label_content_and_cut():
    def transcript(*steps: tuple[str, tuple[bytes, ...]], secret: bytes = bytes(32)) -> bytes:
        party = Party(memory_meshes("ab", secret=secret)["a"])
        for label, contents in steps:
            party.absorb(label, *contents)
        return party.transcript

    transcripts = [
        transcript(),
        transcript(secret=b"x" * 32),
        transcript(("s", (b"ab",))),
        transcript(("sa", (b"b",))),
        transcript(("s", (b"a", b"b"))),
        transcript(("s", (b"a",)), ("b", ())),
        transcript(("s", (b"ac",))),
    ]
    assert len(set(transcripts)) == len(transcripts)


def test_masks_are_not_lost_in_copies():
    stream = Seed(bytes(32), bytes(32)).stream("label")
    for out in (np.zeros((4, 6), np.uint64).T, np.zeros(8, np.uint64)[::2]):
        with pytest.raises(ValueError, match="C-contiguous"):
            stream.fill(out)
