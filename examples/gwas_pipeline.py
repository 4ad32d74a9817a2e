"""From genotypes to a report at three sites: quality, ancestry, scans, meta-analysis, scores, plots, files.

    python examples/gwas_pipeline.py [FOLDER]

The genotypes are simulated, with population structure, linkage and missing calls; at two sites some variants
stand on the other strand, and alleles are swapped. Writes the first site's plots and tables to the folder;
every site holds the same, but for the scores of its own samples. Run it again after Ctrl-C: the scans go on
where they were.
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
    by_site: fs.gwas.GWASMetaResult
    by_age: fs.gwas.InteractionResult
    score: fs.gwas.ScoreResult
    r2: pd.Series


def analysis(federation: fs.Federation, files: fs.gwas.SiteFiles) -> Report:
    """Analyse one site's files together with the other sites: every site runs this."""
    genotypes = federation.genotypes(files.bed)
    rows = pd.read_csv(files.table)
    rows["high_ldl"] = (rows["ldl"] > 4.1).astype(int)

    # Which variants, and which of this site's samples, are sound. Whether A/T and C/G variants stand on the
    # same strand everywhere shows in which allele is the rarer; where that is not clear they are left out.
    quality = fs.gwas.qc(genotypes, federation.cohort(rows, id="sample_id"), ambiguous="frequency")
    sound = quality.samples.loc[quality.samples["call_rate"] > 0.97, "id"]
    rows = rows[rows["sample_id"].isin(sound)]
    variants = quality.passing(call_rate=0.97, maf=0.01, hwe=1e-10)

    # Ancestry: the scores stay here, and become covariates.
    cohort = federation.cohort(rows, id="sample_id")
    ancestry = fs.gwas.pca(genotypes, cohort, components=2, variants=variants, ambiguous="frequency")
    scores = ancestry.scores.rename(columns={"id": "sample_id", "pc1": "ancestry1", "pc2": "ancestry2"})
    cohort = federation.cohort(rows.merge(scores, on="sample_id"), id="sample_id")

    covariates = ["age", "C(sex)", "ancestry1", "ancestry2"]
    options = {"covariates": covariates, "variants": variants, "ambiguous": "frequency"}
    kept = files.bed.with_suffix(".checkpoint")

    # Effects of all variants for the sites' own use; for the public, what passes the threshold alone.
    ldl = fs.gwas.linear(genotypes, cohort, trait="ldl", checkpoint=kept, **options)
    loci = fs.gwas.linear(genotypes, cohort, trait="ldl", disclose="gated", threshold=5e-8, **options)
    score = fs.gwas.score(genotypes, cohort, foremost(ldl), ambiguous="frequency")
    return Report(
        quality,
        ancestry,
        ldl,
        loci,
        case=fs.gwas.logistic(genotypes, cohort, trait="high_ldl", **options),
        by_site=fs.gwas.meta_analysis(genotypes, cohort, trait="ldl", **options),
        by_age=fs.gwas.interaction(genotypes, cohort, trait="ldl", modifiers=["age"], **options),
        score=score,
        # Of the samples in which the effects were found: in others it explains less.
        r2=score.r2(cohort, "ldl", covariates),
    )


def foremost(scan: fs.gwas.GWASResult, apart: int = 100_000) -> pd.DataFrame:
    """Return the foremost variant of each locus that passes 1e-6."""
    hits = scan.to_frame().query("p_value < 1e-6").sort_values("p_value")
    chosen: list[int] = []
    for row, variant in hits.iterrows():
        near = hits.loc[chosen].query("chromosome == @variant.chromosome")["base_pair_location"]
        if not (near - variant["base_pair_location"]).abs().lt(apart).any():
            chosen.append(row)
    return hits.loc[chosen]


if __name__ == "__main__":
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "gwas-pipeline")
    simulated = fs.gwas.simulate_cohort(
        folder, samples=(500, 400, 300), variants=2_000, swap_alleles=0.2, flip_strand=0.2, seed=7
    )
    report = fs.simulate(analysis, simulated.sites)[0]
    for result in (report.quality, report.ancestry, report.ldl, report.case, report.by_site, report.by_age):
        print(result.summary(), end="\n\n")
    print(report.score.summary(), end="\n\n")
    print(f"Explained by the score beyond covariates: {report.r2['score']:.3f} of the variance of ldl")
    print(f"Opened by the gated scan: {len(report.loci.to_frame())} of {len(report.ldl.to_frame())} variants")

    report.quality.plot().figure.savefig(folder / "frequencies.png", dpi=150)
    report.ancestry.plot().figure.savefig(folder / "ancestry.png", dpi=150)
    report.ldl.plot().figure.savefig(folder / "manhattan.png", dpi=150)
    report.ldl.plot_region(window=50_000).figure.savefig(folder / "region.png", dpi=150)
    report.case.plot_qq().figure.savefig(folder / "qq.png", dpi=150)
    report.case.to_ssf(folder / "high_ldl.tsv.gz", genome_assembly="GRCh38", ancestry="simulated")
    report.by_site.beside(report.ldl).to_csv(folder / "by_site.tsv", sep="\t", index=False)
    report.loci.to_frame().to_csv(folder / "loci.tsv", sep="\t", index=False)
