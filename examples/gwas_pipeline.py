"""From genotypes to a report at three sites: quality, ancestry, a linear and a logistic scan, plots, files.

    python examples/gwas_pipeline.py [FOLDER]

The genotypes are simulated, with population structure, linkage and missing calls. Writes the first site's
plots and tables to the folder; every site holds the same, but for the scores of its own samples.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

import fedstats as fs


@dataclass
class Report:
    """What comes out."""

    quality: fs.gwas.QCResult
    ancestry: fs.gwas.PCAResult
    ldl: fs.gwas.GWASResult
    loci: fs.gwas.GWASResult
    case: fs.gwas.GWASResult


def analysis(federation: fs.Federation, files: fs.gwas.SiteFiles) -> Report:
    """Analyse one site's files together with the other sites: every site runs this."""
    genotypes = federation.genotypes(files.bed)
    rows = pd.read_csv(files.table)
    rows["high_ldl"] = (rows["ldl"] > 4.1).astype(int)

    # Which variants, and which of this site's samples, are sound.
    quality = fs.gwas.qc(genotypes, federation.cohort(rows, id="sample_id"))
    sound = quality.samples.loc[quality.samples["call_rate"] > 0.97, "id"]
    rows = rows[rows["sample_id"].isin(sound)]
    variants = quality.passing(call_rate=0.97, maf=0.01, hwe=1e-10)

    # Ancestry: the scores stay here, and become covariates.
    cohort = federation.cohort(rows, id="sample_id")
    ancestry = fs.gwas.pca(genotypes, cohort, components=2, variants=variants)
    scores = ancestry.scores.rename(columns={"id": "sample_id", "pc1": "ancestry1", "pc2": "ancestry2"})
    cohort = federation.cohort(rows.merge(scores, on="sample_id"), id="sample_id")

    covariates = ["age", "C(sex)", "ancestry1", "ancestry2"]
    options = {"covariates": covariates, "variants": variants}
    return Report(
        quality,
        ancestry,
        # Effects of all variants for the sites' own use; for the public, what passes the threshold alone.
        ldl=fs.gwas.linear(genotypes, cohort, trait="ldl", **options),
        loci=fs.gwas.linear(genotypes, cohort, trait="ldl", disclose="gated", threshold=5e-8, **options),
        case=fs.gwas.logistic(genotypes, cohort, trait="high_ldl", **options),
    )


if __name__ == "__main__":
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "gwas-pipeline")
    simulated = fs.gwas.simulate_cohort(folder, samples=(500, 400, 300), variants=2_000, seed=7)
    report = fs.simulate(analysis, simulated.sites)[0]
    for result in (report.quality, report.ancestry, report.ldl, report.case):
        print(result.summary(), end="\n\n")
    print(f"Opened by the gated scan: {len(report.loci.to_frame())} of {len(report.ldl.to_frame())} variants")

    report.quality.plot().figure.savefig(folder / "frequencies.png", dpi=150)
    report.ancestry.plot().figure.savefig(folder / "ancestry.png", dpi=150)
    report.ldl.plot().figure.savefig(folder / "manhattan.png", dpi=150)
    report.case.plot_qq().figure.savefig(folder / "qq.png", dpi=150)
    report.case.to_ssf(folder / "high_ldl.tsv.gz", genome_assembly="GRCh38", ancestry="simulated")
    report.loci.to_frame().to_csv(folder / "loci.tsv", sep="\t", index=False)
