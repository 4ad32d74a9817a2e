"""Programs of MPyC in a session: allowed by every site's policy or refused, and recorded number by number."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fedstats as fs
from fedstats._mpyc import DECLARATION
from fedstats.errors import DataError, PolicyError, RemoteError

pytest.importorskip("mpyc.runtime")

ALLOWING = fs.policy.SitePolicy(allow_mpyc=True)


def totals(mpc: Any, numbers: list[int]) -> list[int]:
    """Add up everybody's numbers, and compare: MPyC opens masked values of its own on the way."""
    secint = mpc.SecInt(32)
    shared = mpc.input([secint(number) for number in numbers])
    sums = [mpc.sum(list(column)) for column in zip(*shared, strict=True)]
    return [*mpc.run(mpc.output(sums)), int(mpc.run(mpc.output(mpc.max(sums))))]


def test_what_a_program_opens_is_recorded_and_what_its_protocols_open_is_not() -> None:
    def run(fed: fs.Federation, numbers: list[int]) -> tuple[list[int], dict[str, int]]:
        with fed.mpyc() as mpc:
            found = [int(x) for x in totals(mpc, numbers)]
            array = mpc.SecInt(32).array(np.arange(6).reshape(2, 3))
            mpc.run(mpc.output(array))
            assert mpc.run(mpc.is_zero_public(mpc.SecInt(32)(0)))
            assert mpc.run(mpc.transfer("abc")) == ["abc"] * 3
        assert fed.leakage.labels == {*DECLARATION.published, *DECLARATION.result}
        return found, {reveal.label: reveal.size for reveal in fed.leakage if reveal.kind == "result"}

    for found, sizes in fs.simulate(run, [[1, 2], [30, 40], [500, 7]], policy=ALLOWING):
        assert found == [531, 49, 531]
        assert sizes == {"output": 2 + 1 + 6, "public test": 1, "transfer": 8}


def test_a_program_written_for_mpyc_is_asked_too() -> None:
    def run(fed: fs.Federation, number: int) -> int:
        with fed.mpyc():
            from mpyc.runtime import mpc

            async def main() -> int:
                async with mpc:
                    return int(await mpc.output(mpc.sum(mpc.input(mpc.SecInt(16)(number)))))

            total = mpc.run(main())
        (reveal,) = [reveal for reveal in fed.leakage if reveal.label == "output"]
        assert reveal.size == 1
        return int(total)

    assert fs.simulate(run, [1, 2, 3], policy=ALLOWING) == [6, 6, 6]


def test_a_site_that_does_not_allow_it_stops_all() -> None:
    def run(fed: fs.Federation, allowed: bool) -> None:
        fed.policy = fs.policy.SitePolicy(allow_mpyc=allowed)
        expected = RemoteError if allowed else PolicyError
        with pytest.raises(expected) as caught, fed.mpyc():
            raise AssertionError("the program began")
        if not allowed:
            assert "allow_mpyc = true" in str(caught.value)
        assert not any(reveal.kind == "result" for reveal in fed.leakage)
        raise caught.value

    with pytest.raises(PolicyError, match=r"\[policy\] of site.toml"):
        fs.simulate(run, [True, False, True])


def test_two_sites_are_refused() -> None:
    def run(fed: fs.Federation, _: None) -> None:
        with fed.mpyc():
            raise AssertionError("the program began")

    with pytest.raises(PolicyError, match="third"):
        fs.simulate(run, [None, None], policy=ALLOWING)


def test_securities_differ() -> None:
    def run(fed: fs.Federation, security: int) -> None:
        with fed.mpyc(security=security):
            raise AssertionError("the program began")

    with pytest.raises(DataError, match="security"):
        fs.simulate(run, [30, 30, 40], policy=ALLOWING)


def test_a_failed_program_leaves_its_record() -> None:
    kept: dict[str, fs.Federation] = {}

    def run(fed: fs.Federation, number: int) -> None:
        kept[fed.site] = fed
        with fed.mpyc() as mpc:
            mpc.run(mpc.output(mpc.SecInt(16)(number)))
            raise ValueError("of the script's own")

    with pytest.raises(ValueError, match="own"):
        fs.simulate(run, [1, 1, 1], policy=ALLOWING)
    assert all("output" in fed.leakage.labels for fed in kept.values())
