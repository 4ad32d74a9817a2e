from __future__ import annotations

import datetime
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from fedstats.errors import DataError, ProtocolError
from fedstats.schema import Kind, Schema, from_metadata, kind_of, to_metadata


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1, 2], Kind.INTEGER),
        ([1, None], Kind.FLOAT),
        (pd.array([1, None], dtype="Int64"), Kind.INTEGER),
        (pd.array([1.5, None], dtype="Float64"), Kind.FLOAT),
        ([True, False], Kind.BOOL),
        ([True, None], Kind.BOOL),
        (pd.array([True, None], dtype="boolean"), Kind.BOOL),
        ([Decimal("1.5"), None], Kind.FLOAT),
        ([1, 1.5], Kind.FLOAT),
        (["a", None], Kind.CATEGORICAL),
        (pd.array(["a", None], dtype="string"), Kind.CATEGORICAL),
        (pd.Categorical([1, 2]), Kind.CATEGORICAL),
        (pd.to_datetime(["2020-01-01", None]), Kind.DATETIME),
        ([datetime.date(2020, 1, 1)], Kind.DATETIME),
        ([None, None], Kind.EMPTY),
        ([np.nan], Kind.EMPTY),
        ([], Kind.EMPTY),
        (pd.Categorical([None], categories=["a"]), Kind.EMPTY),
        (["a", 1], Kind.UNSUPPORTED),
        ([True, 2], Kind.UNSUPPORTED),
        ([1j], Kind.UNSUPPORTED),
        (pd.to_timedelta([1]), Kind.UNSUPPORTED),
        ([[1], [2]], Kind.UNSUPPORTED),
    ],
)
def test_kind_of(values: object, kind: Kind) -> None:
    series = pd.Series(values) if len(values) else pd.Series(values, dtype=object)  # type: ignore[arg-type, call-overload]
    assert kind_of(series) is kind


@pytest.mark.parametrize(
    ("kinds", "agreed"),
    [
        (["integer", "float", "bool"], Kind.FLOAT),
        (["bool", "integer"], Kind.INTEGER),
        (["bool", "bool"], Kind.BOOL),
        (["categorical", "empty"], Kind.CATEGORICAL),
        (["empty", "empty"], Kind.EMPTY),
        (["datetime", "datetime"], Kind.DATETIME),
    ],
)
def test_kinds_that_are_reconciled(kinds: list[str], agreed: Kind) -> None:
    schema = Schema.merge({f"site{i}": {"x": Kind(kind)} for i, kind in enumerate(kinds)})
    assert schema.require("x") is agreed


@pytest.mark.parametrize(
    ("kinds", "message"),
    [
        (["categorical", "float", "float"], "'x' is categorical at site s0, float at sites s1, s2"),
        (["float", "unsupported"], "'x' at site s1 holds values of several types"),
        (["float", None], "'x' does not exist at site s1: add it"),
        (["datetime", "integer"], "datetime at site s0, integer at site s1"),
    ],
)
def test_kinds_that_are_not(kinds: list[str | None], message: str) -> None:
    tables = {f"s{i}": {} if kind is None else {"x": Kind(kind)} for i, kind in enumerate(kinds)}
    with pytest.raises(DataError, match=message):
        Schema.merge(tables).require("x")


def test_order_of_columns() -> None:
    one, other = {"b": Kind.FLOAT, "a": Kind.FLOAT}, {"a": Kind.FLOAT, "b": Kind.FLOAT}
    assert list(Schema.merge({"s": one, "t": one}).kinds) == ["b", "a"]
    assert list(Schema.merge({"s": one, "t": other}).kinds) == ["a", "b"]


def test_unknown_column_is_answered_by_similar_ones() -> None:
    schema = Schema.merge({"s": {"age": Kind.FLOAT, "arm": Kind.CATEGORICAL}})
    with pytest.raises(DataError, match="no site has a column 'agee'; did you mean 'age'"):
        schema.require("agee")
    with pytest.raises(DataError, match="no site has a column 'zzz'; the columns are 'age', 'arm'"):
        schema.require("zzz")
    with pytest.raises(DataError, match="'arm' is categorical, a number is needed"):
        schema.require_numeric("arm")


def test_metadata_round_trip() -> None:
    table = {"b": Kind.FLOAT, "a": Kind.EMPTY}
    read = from_metadata("s", to_metadata(table))
    assert list(read.items()) == list(table.items())


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"names": ["a"], "kinds": []},
        {"names": ["a"], "kinds": ["number"]},
        {"names": ["a", "a"], "kinds": ["float", "float"]},
        {"names": [1], "kinds": ["float"]},
        {"names": ["a" * 2000], "kinds": ["float"]},
        {"names": "a", "kinds": ["float"]},
        {"names": ["a"], "kinds": [["float"]]},
    ],
)
def test_metadata_of_a_peer_is_not_trusted(metadata: dict[str, object]) -> None:
    with pytest.raises(ProtocolError, match="site s sent no valid schema") as caught:
        from_metadata("s", metadata)
    assert caught.value.site == "s"
