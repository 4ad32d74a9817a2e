"""A genome-wide scan over three sites: simulated PLINK files with population structure and linkage.

    python examples/linear_gwas.py [FOLDER]

Sites list their variants in different order, with swapped alleles and on different strands, as real sites
do. Writes each site's files, the association table and, with matplotlib, two plots to the folder. It prints::

    Linear association of ldl with each variant
    Samples          1,600    Without variation      0
    Left out             0    Dropped              120
    Sites                3    P < 5e-8              68
    Variants tested  3,880    Genomic control λ  1.244

               effect  other  freq     beta       se  -log10 p
    ──────────────────────────────────────────────────────────
    15:240196       A      T     –   0.3517  0.03854     18.68
    4:330848        A      G     –  -0.5674  0.06682     16.34
    15:296356       T      G     –   0.2756  0.03359     15.32
    15:298895       A      G     –   0.2571  0.03195     14.78
    15:288926       T      C     –   0.2558  0.03267     14.05
    15:250186       C      G     –    0.299  0.03873     13.68
    4:328271        A      G     –  -0.5073  0.06819     12.78
    15:303505       G      A     –   0.2395  0.03251     12.56
    16:74941        G      T     –   0.3577  0.04873     12.47
    15:244092       A      G     –   0.2599  0.03593     12.13

    Cost: …

    kept                       3880
    no position                   0
    unknown allele                0
    listed twice                  0
    absent at a site            120
    other alleles at a site       0
    ambiguous strand              0
    frequency near one half       0

    Told by each site of itself (bytes):
      genotypes                   116  number and SHA-256 of each site's list of variants, SHA-256 of
                                       the variants= that it was given, and the text of the call
      variants                 54,628  each site's list of variants, if the lists differ: positions,
                                       names, alleles in order
      formula                     259  the text of the call, and which levels of its categorical columns
                                       a site's rows have (not of columns whose levels were declared)
    Opened to every site, as sums over all sites (numbers):
      column sums                  14  numbers of complete rows and of dropped rows; Σx and Σ|x| of
                                       every column of the model matrix and of every response
      cross-products               15  Σxx' of the centred and scaled columns of the model matrix
      orthonormal products         27  Σqq' of the orthonormalised columns q, their products with the
                                       centred responses, and sums and sums of squares of these
      trait residuals               1  sums of squares of the traits' residuals on the covariates
    Opened to every site, as computed on shares (numbers):
      associations             11,640  of each variant: its variation that the covariates leave, and its
                                       product with each trait's residual, which is to say effect and
                                       standard error; and of regressions on complete cases how many
                                       these are
"""

import sys
from pathlib import Path

import fedstats as fs


def analysis(federation: fs.Federation, files: fs.gwas.SiteFiles) -> fs.gwas.GWASResult:
    """Scan one site's files together with the other sites: every site runs this."""
    volunteers = federation.cohort(files.table, id="sample_id")
    genotypes = federation.genotypes(files.bed)
    return fs.gwas.linear(genotypes, volunteers, trait="ldl", covariates=["age", "C(sex)", "pc1", "pc2"])


if __name__ == "__main__":
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "gwas-example")
    simulated = fs.gwas.simulate_cohort(
        folder, variants=4_000, swap_alleles=0.2, flip_strand=0.1, absent=0.01, shuffle=True, seed=7
    )
    hits = fs.simulate(analysis, simulated.sites)[0]
    print(hits.summary(), hits.reconciled.counts.to_string(), hits.leakage, sep="\n\n")

    hits.to_frame().to_csv(folder / "ldl.tsv", sep="\t", index=False)
    hits.plot().figure.savefig(folder / "manhattan.png", dpi=150)
    hits.plot_qq().figure.savefig(folder / "qq.png", dpi=150)
