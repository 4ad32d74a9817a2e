from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from stat_helpers import refused

import fedstats as fs
from fedstats.cohort import Cohort
from fedstats.schema import Kind

FRAME = pd.DataFrame({"age": [40, 50], "sex": ["f", None], "pid": ["007", "8"]})
CANARY = "Canary-73-Miller"


def cohort_of(source: object, **options: object) -> Cohort:
    return fs.simulate(lambda fed, data: fed.cohort(data, **options), [source, FRAME, FRAME])[0]


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".csv.gz", ".parquet"])
def test_files(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"patients{suffix}"
    if suffix == ".parquet":
        FRAME.to_parquet(file)
    else:
        FRAME.to_csv(file, sep="\t" if suffix == ".tsv" else ",", index=False)
    cohort = cohort_of(file, id="pid")
    assert len(cohort) == 2
    assert cohort.schema.kinds == {"age": Kind.INTEGER, "sex": Kind.CATEGORICAL}
    assert cohort.ids is not None
    assert cohort.ids.tolist() == ["007", "8"]
    assert cohort.numbers("age").tolist() == [40, 50]
    assert cohort.texts("sex").tolist() == ["f", None]
    assert cohort.texts("age").tolist() == ["40", "50"]
    assert cohort.missing("sex").tolist() == [False, True]


def test_declared_levels_make_a_column_categorical_and_keep_leading_zeros(tmp_path: Path) -> None:
    file = tmp_path / "x.csv"
    file.write_text("code\n01\n02\n")
    frame = pd.DataFrame({"code": ["01", "03"]})
    declared = {"code": ["03", "01", "02"]}
    cohort = fs.simulate(lambda fed, data: fed.cohort(data, levels=declared), [file, frame, frame])[0]
    assert cohort.schema.kinds["code"] is Kind.CATEGORICAL
    assert cohort.texts("code").tolist() == ["01", "02"]


def test_truth_values_beside_numbers_are_0_and_1() -> None:
    parts = [pd.DataFrame({"x": [True, False]}), pd.DataFrame({"x": [1.0, None]}), pd.DataFrame({"x": []})]
    cohorts = fs.simulate(lambda fed, data: fed.cohort(data), parts)
    assert cohorts[0].texts("x").tolist() == ["1", "0"]
    assert cohorts[0].numbers("x").tolist() == [1, 0]


def test_the_callers_frame_is_left_alone() -> None:
    before = FRAME.copy()
    cohort_of(FRAME, id="pid")
    pd.testing.assert_frame_equal(FRAME, before)


def test_repr_shows_the_schema_and_no_row() -> None:
    frame = pd.DataFrame({"age": [98765], "name": [CANARY], "pid": [CANARY]})
    cohort = fs.simulate(lambda fed, data: fed.cohort(data, id="pid"), [frame] * 3)[0]
    assert "age: integer" in repr(cohort)
    assert "name: categorical" in repr(cohort)
    assert CANARY not in repr(cohort)
    assert "98765" not in repr(cohort)


Sources = list[Callable[[Path], object]]


def bad(frame: pd.DataFrame) -> Callable[[Path], object]:
    return lambda _: frame


def written(name: str, content: bytes) -> Callable[[Path], object]:
    def write(folder: Path) -> Path:
        (folder / name).write_bytes(content)
        return folder / name

    return write


IDS = {"id": "pid"}


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        (lambda folder: folder / "absent.csv", {}, "there is no such file"),
        (lambda folder: folder, {}, "a table is a .csv, .tsv or .parquet file"),
        (written("x.csv", b""), {}, "cannot be read .EmptyDataError"),
        (written("x.csv", b"a,b\n1,2\n" + CANARY.encode() + b",2,3,4\n"), {}, "cannot be read .ParserError"),
        (written("x.csv", b"a\n\xff\xfe" + CANARY.encode()), {}, "cannot be read .UnicodeDecodeError"),
        (written("x.parquet", CANARY.encode()), {}, "cannot be read .ArrowInvalid"),
        (
            written("x.csv", b"age,sex\n" + CANARY.encode() + b",f,2\n3,m,4\n"),
            {},
            "more fields than the header has names",
        ),
        (lambda folder: "patients", {}, "under \\[data\\] in site.toml"),
        (written("x.csv", b"age,sex,age\n1,f,2\n"), {}, "column 'age' appears more than once"),
        (bad(pd.DataFrame([[1, 2]], columns=["age", "age"])), {}, "column 'age' appears more than once"),
        (bad(pd.DataFrame({3: [1]})), {}, "the name must be text"),
        (bad(pd.DataFrame()), {}, "the table has no columns"),
        (bad(FRAME.drop(columns="pid")), IDS, "there is no id column 'pid'"),
        (bad(FRAME.assign(pid=[CANARY, CANARY])), IDS, "'pid' has 1 values that occur before"),
        (bad(FRAME.assign(pid=[CANARY, None])), IDS, "'pid' has 1 missing values"),
    ],
)
def test_bad_tables_stop_all_sites(
    tmp_path: Path, source: Callable[[Path], object], options: dict[str, object], message: str
) -> None:
    errors = refused(lambda cohort: cohort, [FRAME, source(tmp_path), FRAME], **options)
    assert [type(error) for error in errors] == [fs.RemoteError, fs.DataError, fs.RemoteError]
    assert errors[0].site == "site2"
    with pytest.raises(fs.DataError, match=message):
        raise errors[1]
    # Neither message, notes, cause nor context hold a cell.
    assert CANARY not in repr((errors, [e.__cause__ for e in errors], [e.__context__ for e in errors]))


def covariate(cohort: Cohort) -> object:
    return fs.ols("age ~ sex", cohort, disclose="aggregate")


@pytest.mark.parametrize(
    "analysis",
    [
        covariate,
        lambda cohort: fs.value_counts(cohort, "sex"),
        lambda cohort: fs.describe(cohort, ["age"], by="sex", disclose="aggregate"),
        lambda cohort: fs.ttest_ind(cohort, "age", by="sex", disclose="aggregate"),
        lambda cohort: fs.coxph(
            "age", cohort, duration="age", event="dead", cluster="sex", disclose="aggregate"
        ),
        lambda cohort: fs.check(cohort),
    ],
    ids=["covariate", "counts", "groups", "test", "clusters", "check"],
)
def test_levels_that_were_not_declared_stop_all_sites_when_they_are_used(
    analysis: Callable[[Cohort], object],
) -> None:
    frame = FRAME.drop(columns="pid").assign(dead=1)
    wrong = frame.assign(sex=CANARY)
    errors = refused(analysis, [frame, wrong, frame], levels={"sex": ["f", "m"]})
    assert [type(error) for error in errors] == [fs.RemoteError, fs.DataError, fs.RemoteError]
    assert "'sex' has 1 levels that were not declared" in str(errors[1])
    assert CANARY not in str(errors[1])


def test_options_that_differ_between_sites_are_refused_by_all() -> None:
    def run(federation: fs.Federation, frame: pd.DataFrame) -> str:
        levels = {"sex": ["f", "m"] if federation.site == "site3" else ["m", "f"]}
        with pytest.raises(fs.DataError, match="do not declare the same id and levels") as caught:
            federation.cohort(frame, levels=levels)
        return str(caught.value)

    messages = fs.simulate(run, [FRAME] * 3)
    assert "site site3 differs from site site1" in messages[0]


def test_levels_of_no_column() -> None:
    errors = refused(lambda cohort: cohort, [FRAME] * 3, levels={"six": ["f"]})
    assert all("did you mean 'sex'" in str(error) for error in errors)


def test_agreeing_costs_one_round() -> None:
    def run(federation: fs.Federation, frame: pd.DataFrame) -> int:
        federation.cohort(frame)
        return federation.cost.rounds

    assert fs.simulate(run, [FRAME] * 3) == [1, 1, 1]


def test_numbers_beyond_what_can_be_summed() -> None:
    frame = pd.DataFrame({"x": [1.0, np.inf], "y": [1e300, 1.0]})
    cohort = fs.simulate(lambda fed, data: fed.cohort(data), [frame] * 3)[0]
    for name in frame:
        with pytest.raises(fs.DataError, match=f"'{name}' has 1 values that are infinite or beyond 1e.290"):
            cohort.numbers(name)


def test_whole_numbers_beyond_any_float_are_infinite() -> None:
    frame = pd.DataFrame({"x": np.array([1, None, 10**400, -(10**400), 2.5], object)})
    cohort = fs.simulate(lambda fed, data: fed.cohort(data), [frame] * 3)[0]
    np.testing.assert_array_equal(cohort.numbers("x", np.inf), [1, np.nan, np.inf, -np.inf, 2.5])
    with pytest.raises(fs.DataError, match="2 values that are infinite or beyond"):
        cohort.numbers("x")
