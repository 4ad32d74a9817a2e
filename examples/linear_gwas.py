"""A genome-wide scan over three sites: simulated PLINK files with population structure and linkage.

    python examples/linear_gwas.py [FOLDER]

Sites list their variants in different order, with swapped alleles and on different strands, as real sites
do. Writes each site's files, the association table and, with matplotlib, two plots to the folder.
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
