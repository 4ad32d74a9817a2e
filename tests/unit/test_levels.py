from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from fedstats import levels
from fedstats.errors import DataError, ProtocolError
from fedstats.schema import Kind


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        (["b", None, "a"], ["b", None, "a"]),
        ([1.0, np.nan, 2.5], ["1", None, "2.5"]),
        ([1, 2], ["1", "2"]),
        ([True, None], ["True", None]),
        (pd.Categorical([2, None], categories=[3, 2]), ["2", None]),
        ([], []),
    ],
)
def test_text_of_levels(values: object, texts: list[str | None]) -> None:
    assert levels.as_text(pd.Series(values, dtype=object if not len(values) else None)).tolist() == texts  # type: ignore[arg-type, call-overload]


def test_many_levels_in_few_rows_are_not_told() -> None:
    eleven = [str(i) for i in range(11)]
    levels.check_not_identifying("x", eleven, 33, Kind.CATEGORICAL)
    levels.check_not_identifying("x", eleven[:10], 10, Kind.CATEGORICAL)
    with pytest.raises(DataError, match=r"'x' has 11 levels in 32 rows .* declare them"):
        levels.check_not_identifying("x", eleven, 32, Kind.CATEGORICAL)
    with pytest.raises(DataError, match="41 levels in 9999 rows"):
        levels.check_not_identifying("x", [str(i) for i in range(41)], 9999, Kind.INTEGER)
    with pytest.raises(DataError, match="holds measurements, not whole numbers"):
        levels.check_not_identifying("x", ["1", "2.5"], 999, Kind.FLOAT)


def merged(*sites: tuple[list[str], list[str] | None], kind: Kind = Kind.CATEGORICAL) -> tuple[str, ...]:
    told = {f"s{i}": {"x": levels.to_metadata(its, order)} for i, (its, order) in enumerate(sites)}
    return levels.merge("x", told, kind, sites[0][1])


def test_order_is_alphabetical_or_numerical_or_that_of_the_dtype() -> None:
    assert merged((["b"], None), (["a", "b"], None)) == ("a", "b")
    assert merged((["10"], None), (["9", "-1"], None), kind=Kind.INTEGER) == ("-1", "9", "10")
    order = ["low", "mid", "high"]
    assert merged((["high"], order), (["low"], order)) == ("low", "high")
    assert merged((["high"], order), (["low"], None)) == ("high", "low")
    assert merged((["high"], order), (["low"], order[::-1])) == ("high", "low")


@pytest.mark.parametrize(
    "said",
    [
        None,
        {},
        {"x": []},
        {"x": {"levels": [1], "order": ""}},
        {"x": {"levels": ["a"], "order": 3}},
        {"x": {"levels": ["nan"], "order": ""}},
    ],
)
def test_levels_of_a_peer_are_not_trusted(said: object) -> None:
    with pytest.raises(ProtocolError, match="site s1 sent no valid levels of column 'x'"):
        levels.merge("x", {"s1": said}, Kind.INTEGER, None)
