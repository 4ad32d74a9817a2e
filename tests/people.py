"""Made-up people with identifiers, and tables of them with typing errors."""

from __future__ import annotations

import numpy as np
import pandas as pd

_NAMES = (
    "Anna Maria Johanna Elisabeth Katharina Sofie Emma Clara Ida Frieda Marta Helene Luise Paula Greta "
    "Ingrid Astrid Karin Birgit Ulrike Sabine Claudia Petra Monika Renate Johann Karl Friedrich Wilhelm "
    "Heinrich Otto Paul Hans Peter Michael Thomas Andreas Stefan Martin Markus Christian Daniel Matthias "
    "Jürgen Björn Lars Erik Søren Knut Olaf Niels Jens Patrick Sean Liam Declan Niamh Siobhan Aoife Ciara"
)
_STARTS = (
    "Bach Berg Brand Feld Fisch Hoff Kauf Kirch Lang Lind Mai Mühl Neu Ober Reich Rosen Schön Stein Wald Win"
)
_ENDS = "auer ermann er hammer haus inger ler mann meier ner nagel rath stein thal wald we"
GIVEN = _NAMES.split()
FAMILY = [start + end for start in _STARTS.split() for end in _ENDS.split()]


def people(count: int, seed: int = 0) -> pd.DataFrame:
    """Return people: common names are common, and every hundredth is a twin of the one before."""
    random = np.random.default_rng(seed)

    def drawn(names: list[str]) -> np.ndarray:
        weights = 1 / (5 + np.arange(len(names)))
        return random.choice(random.permutation(names), count, p=weights / weights.sum())

    days = random.integers(0, 365 * 70, count)
    table = pd.DataFrame(
        {
            "given": drawn(GIVEN),
            "family": drawn(FAMILY),
            "born": pd.Timestamp("1930-01-01") + pd.to_timedelta(days, "D"),
            "sex": random.choice(["f", "m"], count),
        }
    )
    twins = np.arange(100, count, 100)
    table.loc[twins, ["family", "born"]] = table.loc[twins - 1, ["family", "born"]].to_numpy()
    table["born"] = table["born"].dt.strftime("%Y-%m-%d")
    return table.drop_duplicates(["given", "family", "born"]).reset_index(drop=True)


def mistyped(text: str, rate: float, random: np.random.Generator) -> str:
    """Replace, leave out, double or exchange characters; digits are replaced. Not the library's own model."""
    out = []
    letters = list(text)
    while letters:
        letter = letters.pop(0)
        if letter == "-" or random.random() >= rate:
            out.append(letter)
            continue
        match int(random.integers(4)) if not letter.isdigit() else 4:
            case 0:
                out.append("etaonirsh"[random.integers(9)])
            case 1:
                pass
            case 2:
                out += [letter, letter]
            case 3:
                out += [letters.pop(0), letter] if letters else [letter]
            case _:
                out.append(str(random.integers(10)))
    return "".join(out)
