"""What every site of the demonstration runs: the same file, with the site's own rows.

    fedstats run analysis.py --site site.toml

The names "patients", "volunteers" and "genotypes" are registered in each site's site.toml.
"""

from pathlib import Path

import pandas as pd

import fedstats as fs

with fs.join() as fed:
    # A clinical table: progression of diabetes a year after the baseline.
    patients = fed.cohort("patients")
    table = fs.describe(patients, by="sex")
    fit = fs.ols("progression ~ age + C(sex) + C(weight) + bp + ldl + log_triglycerides", patients)

    # A genome-wide scan: LDL cholesterol of genotyped volunteers.
    volunteers = fed.cohort("volunteers", id="sample_id")
    genotypes = fed.genotypes("genotypes")
    hits = fs.gwas.linear(
        genotypes,
        volunteers,
        trait="ldl",
        covariates=["age", "sex", "pc1", "pc2"],
        missing="impute",
        ambiguous="drop",
        disclose="aggregate",
    )

# From here on everything is local: all sites hold the same results.
print(table.summary(), fit.summary(), hits.summary(), sep="\n\n")

folder = Path("results")
folder.mkdir(exist_ok=True)
results = {"describe": table, "ols": fit, "gwas": hits}
for name, result in results.items():
    result.to_frame().to_csv(folder / f"{name}.csv")
    pd.DataFrame(result.leakage).to_csv(folder / f"{name}.leakage.csv", index=False)
pd.DataFrame(fed.leakage).to_csv(folder / "session.leakage.csv", index=False)
costs = {"session": fed.cost} | {name: result.cost for name, result in results.items()}
pd.DataFrame(list(costs.values()), index=list(costs)).to_csv(folder / "cost.csv")
