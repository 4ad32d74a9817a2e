"""Make student_t.json: -log10 of two-sided P values of Student's t by integrating its density.

Run with mpmath installed; it takes some minutes. The density is integrated to 40 digits, so that the
figures owe nothing to the incomplete beta function by which the package computes them.
"""

import json
from pathlib import Path

import mpmath as mp

mp.mp.dps = 40


def neg_log10_p(t: float, df: float) -> mp.mpf:
    t, df = mp.mpf(t), mp.mpf(df)
    log_constant = mp.loggamma((df + 1) / 2) - mp.loggamma(df / 2) - mp.log(mp.pi * df) / 2

    def log_kernel(s: mp.mpf) -> mp.mpf:
        return -(df + 1) / 2 * mp.log1p(s * s / df)

    if t < 1:
        inside = 2 * mp.exp(log_constant) * mp.quad(lambda s: mp.exp(log_kernel(s)), [0, t])
        return -mp.log1p(-inside) / mp.log(10)

    # Relative to its value at t the density falls off over `width`, by a power of s where df is small.
    width = (df + t * t) / ((df + 1) * t)
    nodes = [0, *(width * mp.mpf(2) ** k for k in range(-2, 9))]
    if df < 200:
        nodes += [width * mp.mpf(4) ** k for k in range(5, 60)]
    outside = mp.quad(lambda u: mp.exp(log_kernel(t + u) - log_kernel(t)), [*nodes, mp.inf])
    return -(mp.log(2 * outside) + log_constant + log_kernel(t)) / mp.log(10)


if __name__ == "__main__":
    rows = [
        [t, df, mp.nstr(neg_log10_p(t, df), 17)]
        for df in (1, 1.5, 2, 3, 5, 10, 30, 100, 1000, 20000, 1e6, 1e9)
        for t in (0, 1e-9, 1e-3, 0.1, 0.6745, 1, 1.7, 2.5, 5, 10, 30, 37, 38, 50, 100, 1000, 1e4, 1e200)
        if t < 1e200 or df <= 30
    ]
    document = {
        "made_by": f"python tests/vectors/make_student_t.py (mpmath {mp.__version__})",
        "columns": ["t", "df", "neg_log10_p"],
        "rows": rows,
    }
    Path(__file__).with_name("student_t.json").write_text(json.dumps(document, indent=2) + "\n")
