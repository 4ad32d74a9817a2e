"""Writes zcdp.json: what OpenDP makes of losses in ρ.

pip install opendp==0.16.0 && python tests/vectors/make_zcdp.py > tests/vectors/zcdp.json
"""

from __future__ import annotations

import json

import opendp.prelude as dp

dp.enable_features("contrib")


def epsilon(rho: float, delta: float) -> float:
    """ε of a Gaussian mechanism on a number that a row changes by 1."""
    space = dp.atom_domain(T="f64", nan=False), dp.absolute_distance(T="f64")
    measurement = dp.c.make_zCDP_to_approxDP(dp.m.make_gaussian(*space, scale=(1 / (2 * rho)) ** 0.5))
    return measurement.map(1.0).epsilon(delta)


if __name__ == "__main__":
    cases = [
        {"rho": rho, "delta": delta, "epsilon": epsilon(rho, delta)}
        for rho in (0.0001, 0.005, 0.1, 1.0, 10.0)
        for delta in (1e-9, 1e-6, 1e-3, 0.2)
    ]
    print(json.dumps({"library": "opendp 0.16.0", "cases": cases}, indent=1))
