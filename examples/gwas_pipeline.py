"""From genotypes to a report at three sites: quality, ancestry, scans, meta-analysis, scores, plots, files.

    python examples/gwas_pipeline.py [FOLDER]

The genotypes are simulated, with population structure, linkage and missing calls; at two sites some variants
stand on the other strand, and alleles are swapped. Writes the first site's plots and tables to the folder;
every site holds the same, but for the scores of its own samples. Run it again after Ctrl-C: the scans go on
where they were. It prints::

    Quality of genotypes
    Samples         1,200    Frequency < 0.01               0
    Sites               3    Call rate < 0.98               1
    Variants        1,878    Hardy-Weinberg P < 1e-6       32
    Dropped           122    Sites differ P < 1e-6        494
    Frequency of 0      0    Mean call rate           0.99047

    Cost: …

    Principal components of genotypes
    Samples  1,200    Variants used  138
    Sites        3

         eigenvalue  explained
    ──────────────────────────
    pc1       49.81    0.04077
    pc2        40.2    0.03291

    Cost: …

    Linear association of ldl with each variant
    Samples          1,200    Without variation       0
    Left out             0    Dropped                 0
    Sites                3    P < 5e-8               43
    Variants tested  1,862    Genomic control λ  1.2679

               effect  other  freq     beta       se  -log10 p
    ──────────────────────────────────────────────────────────
    20:152384       C      G     –  -0.3118  0.03768     15.47
    12:34626        C      G     –  -0.3475  0.04207     15.42
    19:32498        T      G     –  -0.4601  0.05625     15.14
    16:61298        A      C     –   0.2792  0.03599     13.74
    12:36516        T      C     –  -0.3158  0.04347     12.17
    20:154058       C      T     –  -0.2731  0.03759     12.17
    12:30595        G      T     –   -0.318  0.04438     11.87
    16:65670        A      G     –   0.2555  0.03635     11.45
    20:164361       A      C     –  -0.2698  0.03879     11.23
    20:158543       T      C     –   -0.265  0.03841     11.07

    Cost: …

    Logistic association of high_ldl with each variant
    Samples          1,200    Without variation       0
    Cases              279    Dropped                 0
    Left out             0    P < 5e-8                0
    Sites                3    Genomic control λ  1.0815
    Variants tested  1,862

               effect  other  freq     beta      se  -log10 p
    ─────────────────────────────────────────────────────────
    19:32498        T      G     –   -1.223  0.2267     7.168
    16:61298        A      C     –   0.5383  0.1032     6.746
    20:152384       C      G     –  -0.5554  0.1079     6.571
    5:154108        T      C     –   0.5365  0.1045     6.554
    2:169253        A      G     –    0.591  0.1166     6.371
    12:34626        C      G     –   -0.609  0.1213     6.242
    17:75358        C      T     –   0.5401  0.1082     6.234
    20:164361       A      C     –  -0.5441  0.1101      6.11
    20:146663       C      T     –  -0.5179  0.1058     6.009
    19:36510        G      A     –  -0.6947  0.1415     5.988

    Cost: …

    Meta-analysis of ldl with each variant
    Samples             1,200    P < 5e-8               45
    Left out                0    P(Q) < 1e-6             0
    Sites                   3    Mean I²            0.1587
    Variants estimated  1,862    Genomic control λ   1.275

                  beta       se  -log10 p   random   its se      I²     P(Q)
    ────────────────────────────────────────────────────────────────────────
    20:152384  -0.3082  0.03775     15.49  -0.3082  0.03775       0   0.9803
    19:32498   -0.4564  0.05614     15.37  -0.4854   0.1066  0.7103  0.03169
    12:34626   -0.3421  0.04223     15.26  -0.3461     0.06  0.4986   0.1361
    16:61298    0.2806  0.03625     14.01   0.2806  0.03625       0   0.9992
    20:154058  -0.2704  0.03768     12.14  -0.2704  0.03768       0   0.9394
    12:36516   -0.3114   0.0437     11.99  -0.3114   0.0437       0   0.3764
    12:30595    -0.314   0.0445     11.77   -0.318  0.06149  0.4731   0.1499
    16:65670    0.2564  0.03654     11.64   0.2564  0.03654       0    0.592
    19:36510   -0.3392   0.0492     11.26  -0.3655  0.09265  0.7046  0.03388
    20:158543  -0.2627  0.03843     11.09  -0.2627  0.03843       0   0.7523

    Cost: …

    Interactions of variants with age on ldl
    Samples   1,200    Genomic control λ of g      0.9466
    Left out      0    Genomic control λ of g:age   0.789
    Sites         3

               term       beta        se  -log10 p
    ──────────────────────────────────────────────
    22:27349  g:age   -0.01266  0.002947     4.724
    22:30317  g:age   -0.01197  0.003078     3.972
    22:25446  g:age   -0.01285  0.003333     3.916
    22:20787  g:age   -0.01106  0.002885     3.873
    22:18492  g:age   -0.01104  0.003217     3.206
    16:22055  g:age   -0.01062  0.003316     2.854
    8:78766   g:age   0.009452  0.002983     2.804
    22:14036  g:age    -0.0109  0.003453     2.787
    22:10000  g:age  -0.009033  0.002884      2.75
    8:80228   g:age   0.009048  0.002908      2.72

    Cost: …

    Polygenic score
    Samples        1,200    Mean                0.0763869
    Sites              3    Standard deviation   0.567032
    Variants used      9

    Cost: …

    Explained by the score beyond covariates: 0.276 of the variance of ldl
    Opened by the gated scan: 43 of 1862 variants
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
