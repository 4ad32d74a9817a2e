"""How many links are missed or wrong at which threshold: tried out on a site's own rows, nothing is sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fedstats import _table
from fedstats.errors import DataError
from fedstats.linkage import encoding
from fedstats.linkage.encoding import Written
from fedstats.linkage.schema import Similar
from fedstats.linkage.typos import mistyped
from protocols.linkage.filters import Filters

#: Most pairs of rows.
MOST_PAIRS = 1 << 25
#: Thresholds that are tried out by default.
THRESHOLDS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))


@dataclass(frozen=True, eq=False, repr=False)
class ErrorRates:
    """How well patients are linked at several thresholds.

    Attributes
    ----------
    rows
        Of either table.
    patients
        How many patients the tables have in common.
    compared
        How many of these are in the same block.
    frame
        Index ``threshold``; columns ``links``, ``correct``, ``sensitivity``, ``ppv``: of the patients in
        common the part that is linked, and of the links the part that is correct, NaN if there is none.
    """

    rows: tuple[int, int]
    patients: int
    compared: int
    frame: pd.DataFrame

    def to_frame(self) -> pd.DataFrame:
        """Return the table of thresholds."""
        return self.frame

    def threshold_for(self, ppv: float) -> float:
        """Return the least threshold from which on so large a part of the links is correct.

        Raises
        ------
        DataError
            There is none among those that were tried out.
        """
        short = ~(self.frame["ppv"] >= ppv) & (self.frame["links"] > 0)
        enough = self.frame.index[~short[::-1].cummax()[::-1] & (self.frame["links"] > 0)]
        if not len(enough):
            raise DataError(
                f"at no threshold of these a part of {ppv:g} of the links is correct: compare more fields, "
                "or try higher thresholds"
            )
        return float(enough[0])

    def summary(self) -> str:
        """Return the rates as text for people."""
        return "\n".join(
            [
                f"Linkage of {self.rows[0]} rows with {self.rows[1]}, of {self.patients} patients in common",
                *([f"{self.compared} of them in the same block"] if self.compared < self.patients else []),
                "",
                *_table.frame_lines(self.frame, 4),
            ]
        )

    def __repr__(self) -> str:
        return self.summary()

    def _repr_html_(self) -> str:
        return self.frame.to_html()


def error_rates(
    on: Similar,
    table: pd.DataFrame,
    other: pd.DataFrame | None = None,
    *,
    id: str | None = None,  # noqa: A002  (the word that the column has in every cohort)
    typos: float = 0.01,
    missing: float = 0.0,
    overlap: float = 0.5,
    thresholds: Sequence[float] = THRESHOLDS,
    seed: int = 0,
) -> ErrorRates:
    """Try out on this site's own rows how well patients are linked, to choose fields and threshold.

    Parameters
    ----------
    on
        How patients are compared. Its threshold is tried out beside `thresholds`.
    table
        Rows with the columns of `on`.
    other, id
        A second table with the same columns, and the column that says in both who is who. By default the
        rows of `table` are dealt into two tables, and those that come into both get errors in the second.
    typos
        Probability that a character has a typing error: replaced, left out, one too many, or exchanged with
        the next.
    missing
        Probability that a field is missing.
    overlap
        Part of the rows that come into both tables; the rest is halved.
    thresholds
        Above 0, at most 1.
    seed
        Of the random numbers.

    Raises
    ------
    DataError
        The tables cannot be used, or a parameter is out of range.

    Notes
    -----
    The rule is that of the linkage itself, see `protocols.linkage.matching`, with the same links for the same
    tables. How many links are wrong depends on how many others a patient is compared with: try out as many
    rows as the sites have, or judge by a greater share of correct links.

    **Leakage.** None: it is all local.

    Examples
    --------
    >>> import fedstats as fs
    >>> people = pd.DataFrame({"name": ["anna bauer", "bert cohn", "carla dietz", "dora ernst"] * 5,
    ...                        "born": [f"19{year}-01-31" for year in range(40, 60)]})
    >>> on = fs.linkage.similar({"name": "text", "born": "date"}, threshold=0.8)
    >>> fs.linkage.error_rates(on, people, typos=0.05).threshold_for(ppv=0.99)
    0.95
    """
    _check(typos, missing, overlap, thresholds)
    pairs = len(table) * len(table if other is None else other)
    if pairs > MOST_PAIRS:
        raise DataError(
            f"{pairs:,} pairs of rows, where {MOST_PAIRS:,} are tried out: give a sample, as "
            "table.sample(4_000)"
        )
    if (other is None) != (id is None):
        raise DataError("other= is a second table, and id= says in both who is who: give both, or none")
    if other is not None and id is not None:
        one, two = encoding.write(table, on), encoding.write(other, on)
        known = [_identities(frame, its, id) for frame, its in ((table, one), (other, two))]
        same = known[0][:, np.newaxis] == known[1]
    else:
        random = np.random.default_rng(seed)
        one, two, same = _dealt(encoding.write(table, on), on, typos, missing, overlap, random)
    allowed = np.array(one.blocks, object)[:, np.newaxis] == np.array(two.blocks, object)
    rows, columns, similarity = best_matches(
        encoding.encode(one.fields, on), encoding.encode(two.fields, on), allowed
    )
    correct = same[rows, columns]
    tried = sorted({round(its, 3) for its in (*thresholds, on.threshold / 1000)})
    patients = int(same.any(axis=1).sum())
    linked = np.array([similarity >= round(1000 * its) / 1000 for its in tried])
    links, right = linked.sum(axis=1), (linked & correct).sum(axis=1)
    with np.errstate(invalid="ignore"):
        frame = pd.DataFrame(
            {"links": links, "correct": right, "sensitivity": right / patients, "ppv": right / links},
            pd.Index(tried, name="threshold"),
        )
    return ErrorRates(same.shape, patients, int((same & allowed).any(axis=1).sum()), frame)


def best_matches(
    one: Filters, other: Filters, allowed: NDArray[np.bool_]
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]:
    """Return who is whose best match among the pairs that are compared, and how similar they are.

    Dice's coefficients of so few bits are equal as floats where they are equal, and only there.
    """
    if not allowed.size:
        return np.zeros(0, np.intp), np.zeros(0, np.intp), np.zeros(0)
    common = one.astype(np.float32) @ other.T.astype(np.float32)
    total = one.sum(axis=1, dtype=np.int64)[:, np.newaxis] + other.sum(axis=1, dtype=np.int64)
    similarity = np.where(allowed, 2.0 * common / total, -1.0)
    best, wanted = similarity.argmax(axis=1), similarity.argmax(axis=0)
    rows = np.flatnonzero(wanted[best] == np.arange(len(one)))
    rows = rows[similarity[rows, best[rows]] > 0]
    return rows, best[rows], similarity[rows, best[rows]]


def _check(typos: float, missing: float, overlap: float, thresholds: Sequence[float]) -> None:
    for name, value in {"typos": typos, "missing": missing}.items():
        if not 0 <= value < 1:
            raise DataError(f"{name} is a probability below 1")
    if not 0 < overlap <= 1:
        raise DataError("overlap is a part of the rows, above 0")
    if not all(0 < its <= 1 for its in thresholds):
        raise DataError("thresholds are above 0 and at most 1")


def _identities(frame: pd.DataFrame, written: Written, name: str) -> NDArray[np.object_]:
    if name not in frame:
        raise DataError(f"there is no column {name!r} that says who is who")
    found = frame[name].iloc[written.rows]
    if found.isna().any() or found.duplicated().any():
        raise DataError(f"column {name!r} is missing in rows, or has a value twice: it says who is who")
    return found.to_numpy(dtype=object)


def _dealt(
    written: Written, on: Similar, typos: float, missing: float, overlap: float, random: np.random.Generator
) -> tuple[Written, Written, NDArray[np.bool_]]:
    """Deal rows into two tables that have some in common, of which the second one has errors."""
    order = random.permutation(len(written.rows))
    both = round(overlap * len(order))
    if both < 1:
        raise DataError(f"{len(order)} rows are too few to be dealt into two tables: use more")
    half = (len(order) - both) // 2
    first, second = order[: both + half], np.concatenate([order[:both], order[both + half :]])
    fields = []
    for (_, how), texts in zip(on.fields, written.fields, strict=True):
        its = mistyped([texts[row] for row in second], how, typos, random)
        gone = random.random(len(its)) < missing
        fields.append(["" if lost else text for text, lost in zip(its, gone, strict=True)])
    blocks = mistyped([written.blocks[row].decode() for row in second], "text", typos, random)
    one = Written(
        [[texts[row] for row in first] for texts in written.fields],
        [written.blocks[row] for row in first],
        first,
    )
    two = Written(fields, [text.encode() for text in blocks], second)
    # Whose fields are all missing now is of nobody, as in `encoding.write`.
    named = np.array([any(texts) for texts in zip(*fields, strict=True)], np.bool_)
    same = first[:, np.newaxis] == second
    return one, _some(two, named), same[:, named]


def _some(written: Written, chosen: NDArray[np.bool_]) -> Written:
    places = np.flatnonzero(chosen).tolist()
    return Written(
        [[texts[place] for place in places] for texts in written.fields],
        [written.blocks[place] for place in places],
        written.rows[places],
    )
