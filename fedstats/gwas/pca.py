"""Principal components of ancestry over all sites, while every sample's scores stay at its site.

Genotypes are standardised by pooled frequencies, X of shape (variants, samples). The leading eigenvectors
of X'X, one entry a sample, are found by block Lanczos iteration from a random start [1]_: each site holds its
rows of a block Y; the sites add up XY, of which a row belongs to a variant and to nobody, and each goes on
with X'XY for its own samples. Eigenvectors are sought among all blocks so far, orthonormal over all sites,
which takes far fewer steps than the last block alone [2]_. Before that, variants in linkage disequilibrium
are thinned out, by pooled correlations of near neighbours.

References
----------
.. [1] N. Halko, P.-G. Martinsson, J. A. Tropp, "Finding structure with randomness: probabilistic algorithms
   for constructing approximate matrix decompositions", SIAM Review 53, 2011, 217–288.
.. [2] C. Musco, C. Musco, "Randomized block Krylov methods for stronger and faster approximate singular value
   decomposition", Advances in Neural Information Processing Systems 28, 2015.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fedstats import _table
from fedstats.disclosure import Declaration, Disclose
from fedstats.errors import DataError, EstimationError
from fedstats.gwas import _strands, _variants, plots
from fedstats.gwas._ahead import blocks
from fedstats.gwas._prune import thin
from fedstats.gwas._standard import Standard
from fedstats.gwas._strands import settle_strands
from fedstats.gwas._variants import Ambiguous
from fedstats.gwas.genotypes import Genotypes
from fedstats.gwas.reconcile import Reconciled
from fedstats.results import Result
from protocols.ring import FIXED128

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fedstats.analysis import Analysis
    from fedstats.cohort import Cohort

Floats: TypeAlias = NDArray[np.float64]

#: Columns of the basis beyond the components wanted, which make these converge.
EXTRA: Final = 10
#: Steps of the iteration, and the relative change of the wanted eigenvalues at which it ends before.
STEPS: Final = 50
CONVERGED: Final = 1e-5
#: Blocks that are kept; the best columns of all of them then take their place.
BLOCKS: Final = 12
#: Part of a block's variation below which what earlier blocks leave of it is but rounding of float32.
NOTHING: Final = 1e-11

DECLARATION = Declaration(
    "gwas.pca",
    aggregate={
        "samples": "number of samples",
        **_strands.OPENED,
        "genotype counts": "of each variant: missing calls, Σg and Σg²",
        "neighbours": "of each variant: correlations with near neighbours",
        "basis": "at each step: products of the new columns of the basis with all, summed over samples",
        "variant products": "at each step: of each variant, its products with the columns of the basis",
        "total": "sum of all eigenvalues",
    },
    published=_variants.PUBLISHED,
)


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class PCAResult(Result):
    """Principal components; the same at every site, but for `scores`.

    Attributes
    ----------
    nobs
        Samples of all sites.
    eigenvalues
        Of the leading components, of the correlation matrix of samples X'X / variants.
    explained
        Each eigenvalue as a part of the sum of all.
    scores
        This site's samples, which no other site has seen: `id`, `pc1`, `pc2`, …, of mean 0 and standard
        deviation 1 over all sites.
    frame
        See `to_frame`.
    """

    nobs: int
    eigenvalues: Floats
    explained: Floats
    frame: pd.DataFrame = field(repr=False)
    scores: pd.DataFrame = field(repr=False)

    def to_frame(self) -> pd.DataFrame:
        """Return one row a variant that was used.

        Columns: `chromosome`, `base_pair_location`, `effect_allele`, `other_allele`, `rsid`,
        `effect_allele_frequency`, and its loadings `pc1`, `pc2`, …, by which its standardised genotype
        enters the scores.
        """
        return self.frame.copy()

    def project(self, genotypes: Genotypes, cohort: Cohort) -> pd.DataFrame:
        """Return the scores of other samples of this site; nothing is sent.

        Parameters
        ----------
        genotypes
            A file that holds all variants of `to_frame`, with the same alleles in either order.
        cohort
            Its rows with genotypes are projected.

        Raises
        ------
        DataError
            The file lacks a variant, or no row has genotypes.
        """
        found = genotypes.match(cohort)
        rows = np.flatnonzero(found >= 0)
        index, flip = genotypes.find(self.frame)
        names = [name for name in self.frame if str(name).startswith("pc")]
        standard = Standard(2 * self.frame["effect_allele_frequency"].to_numpy())
        scores = np.zeros((rows.size, len(names)))
        for start in range(0, index.size, 1024):
            part = slice(start, start + 1024)
            calls = genotypes.file.read(index[part], found[rows], flip=flip[part])
            scores += standard.apply(calls, part).T @ self.frame[names].to_numpy(np.float32)[part]
        return _scores(scores, None if cohort.ids is None else cohort.ids[rows])

    def summary(self) -> str:
        """Return what the components explain, as text."""
        facts: list[tuple[str, object]] = [
            ("Samples", f"{self.nobs:,}"),
            ("Sites", len(self.sites)),
            ("Variants used", f"{len(self.frame):,}"),
        ]
        table = pd.DataFrame(
            {"eigenvalue": self.eigenvalues, "explained": self.explained},
            index=[f"pc{number}" for number in range(1, len(self.eigenvalues) + 1)],
        )
        return "\n".join(
            [
                "Principal components of genotypes",
                *_table.pair_lines(facts),
                "",
                *_table.frame_lines(table, digits=4),
                "",
                f"Cost: {self.cost}",
            ]
        )

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw this site's samples by the first two components; needs matplotlib."""
        return plots.components(self.scores, ax=ax)


def pca(
    genotypes: Genotypes,
    cohort: Cohort,
    *,
    components: int = 10,
    maf: float = 0.01,
    r2: float = 0.2,
    window: int = 50,
    variants: pd.DataFrame | None = None,
    ambiguous: Ambiguous = "keep",
    seed: int = 0,
    disclose: Disclose = "aggregate",
) -> PCAResult:
    """Find the leading principal components of the autosomal variants that the sites share.

    Parameters
    ----------
    genotypes
        See `Federation.genotypes`.
    cohort
        Its rows with genotypes take part; needs an ``id``.
    components
        How many.
    maf
        Least frequency of the rarer allele.
    r2
        Variants are thinned out until no two near neighbours have a higher squared correlation; 1 keeps
        all.
    window
        How many variants further on count as near neighbours.
    variants
        Only these, as from `QCResult.passing`; all that the sites share by default.
    ambiguous
        Whether A/T and C/G variants are kept, see `linear`.
    seed
        Of the random start, the same at every site.
    disclose
        ``"aggregate"``: what `DECLARATION` lists is opened. There is no other mode: each site needs the
        frequencies to standardise its genotypes, and the loadings, by which it finds its samples' scores,
        tell the products of the last step. Those of earlier steps span the same space ever more nearly, so to
        hide them would hide little.

    Returns
    -------
    PCAResult

    Raises
    ------
    DataError
        The genotype files or ids cannot be used, or the sites share no variant.
    RemoteError
        The same at another site.
    EstimationError
        Fewer variants pass than there are components.

    Notes
    -----
    **Leakage.** Every site learns pooled frequencies of all variants that are given, correlations of those
    that are frequent with their neighbours, and loadings and eigenvalues at each step of those that are left,
    of all sites together. Frequencies of some thousand variants suffice to tell whether a known genome is
    among the samples (see `linear`), also if the scores become covariates of a scan that is ``"gated"``: give
    it some hundreds of variants, ``variants=``, where that matters. Scores stay where they are. A coalition
    of t sites learns the same of the other n − t sites.

    **Cost.** Four rounds, one more if the variant lists differ, two for each block of 2,048 variants, two
    more for each 256 variants to thin out, and for each step of the iteration four and two a block. A variant
    costs 24 bytes times (s − 1)/s for each neighbour, and as much for each step and column of the basis
    (components + 10).

    Examples
    --------
    >>> ancestry = fs.gwas.pca(geno, cohort, components=4)  # doctest: +SKIP
    >>> rows = rows.merge(ancestry.scores, on="id")  # doctest: +SKIP
    """

    def check() -> None:
        if not (components >= 1 and 0 <= maf < 0.5 and 0 < r2 <= 1 and window >= 1):
            raise DataError(
                f"components={components}, maf={maf}, r2={r2}, window={window}: at least 1 component and "
                "neighbour, 0 ≤ maf < 0.5, 0 < r2 ≤ 1"
            )

    with cohort.federation.analysis(DECLARATION, disclose) as run:
        found, shared = _variants.agree_variants(
            run,
            genotypes,
            cohort,
            ambiguous,
            variants=variants,
            options=f"components={components}, maf={maf}, r2={r2}, window={window}, seed={seed}, "
            f"ambiguous={ambiguous!r}",
            check=check,
        )
        rows = np.flatnonzero(found >= 0)
        samples = found[rows]
        n = int(run.sum("samples", np.array([rows.size]))[0])
        shared = settle_strands(run, genotypes, genotypes.members(samples), shared, ambiguous)
        shared, standard = _standardise(run, genotypes, samples, shared, n, maf)
        if r2 < 1:
            kept = thin(run, genotypes, samples, shared, standard, r2=r2, window=window)
            shared, standard = shared.take(kept), standard.take(kept)
        width = min(components + EXTRA, n, len(shared))
        if width < components:
            raise EstimationError(
                f"{len(shared)} variants of {n} samples make no {components} components: lower maf, raise r2"
            )
        values, vectors, loadings, total = _iterate(
            run, genotypes, samples, shared, standard, components, width, seed
        )
        names = [f"pc{number}" for number in range(1, components + 1)]
        known = shared.variants[[*_variants.KEY, "rsid"]]
        return PCAResult(
            **run.finish(),
            nobs=n,
            eigenvalues=values / len(shared),
            explained=values / total,
            frame=known.assign(effect_allele_frequency=standard.mean / 2).join(
                pd.DataFrame(loadings * np.sqrt(n), columns=names)
            ),
            scores=_scores(vectors * np.sqrt(n), None if cohort.ids is None else cohort.ids[rows]),
        )


def _standardise(
    run: Analysis,
    genotypes: Genotypes,
    samples: NDArray[np.int64],
    shared: Reconciled,
    n: int,
    maf: float,
) -> tuple[Reconciled, Standard]:
    """Return the autosomal variants that are frequent enough, and their pooled means."""
    members = genotypes.members(samples)
    sums = np.concatenate(
        [
            run.sum("genotype counts", mine, ring=FIXED128, part=number)
            for number, _, mine in blocks(
                run, len(shared), lambda part: genotypes.block(shared, part, members).moments()
            )
        ]
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = sums[:, 1] / (n - np.rint(sums[:, 0]))
    frequency = np.minimum(mean, 2 - mean) / 2
    autosomal = ~shared.variants["chromosome"].isin(_variants.SPECIAL).to_numpy()
    kept = np.flatnonzero(autosomal & (frequency >= maf) & (frequency > 0))
    return shared.take(kept), Standard(mean[kept])


def _iterate(
    run: Analysis,
    genotypes: Genotypes,
    samples: NDArray[np.int64],
    shared: Reconciled,
    standard: Standard,
    components: int,
    width: int,
    seed: int,
) -> tuple[Floats, Floats, Floats, float]:
    """Return eigenvalues of X'X, this site's rows of its eigenvectors, X·vector / value, and the trace."""
    site = run.federation.site
    index, flip = shared.index[site], shared.flip[site]

    def read(part: slice) -> NDArray[np.int8]:
        return genotypes.file.read(index[part], samples, flip=flip[part])

    random = np.random.default_rng(seed)
    start = random.normal(size=(len(shared), width)).astype(np.float32)
    sums, squares = np.zeros((width, samples.size)), 0.0
    for _, part, calls in blocks(run, len(shared), read):
        for few, X in standard.portions(calls, part):
            sums += start[part][few].T @ X
            squares += float(np.vdot(X, X))
    total = float(run.sum("total", np.array([squares]))[0])

    Y, before = sums.T, np.zeros(0)
    basis, products = np.zeros((samples.size, 0)), np.zeros((len(shared), 0))
    number = 0
    for step in range(STEPS):
        for again in (0, 1):  # the second time takes away what roundings have left
            Y = _orthonormal(run, basis, Y, 2 * step + again)
        if not Y.shape[1]:
            break
        single = Y.astype(np.float32)
        sums, of_block = np.zeros((Y.shape[1], samples.size)), np.empty((len(shared), Y.shape[1]))
        for _, part, calls in blocks(run, len(shared), read):
            mine = [X @ single for _, X in standard.portions(calls, part)]
            pooled = run.sum(
                "variant products", np.vstack(mine, dtype=np.float64), ring=FIXED128, part=number
            )
            of_block[part] = pooled
            for few, X in standard.portions(calls, part):
                sums += pooled[few].astype(np.float32).T @ X
            number += 1
        basis, products = np.hstack([basis, Y]), np.hstack([products, of_block])
        values, rotation = np.linalg.eigh(products.T @ products)
        best = values[::-1][:components]
        if before.size == components and np.abs(best - before).max() < CONVERGED * best[-1]:
            break
        before, Y = best, sums.T
        if basis.shape[1] >= BLOCKS * width:
            rotation = rotation[:, ::-1][:, :width]
            basis, products = basis @ rotation, products @ rotation
    if basis.shape[1] < components:
        raise EstimationError("the genotypes have fewer components than were asked for")
    values, rotation = np.linalg.eigh(products.T @ products)
    values, rotation = values[::-1][:components], rotation[:, ::-1][:, :components]
    loadings = products @ rotation
    rotation = rotation * np.where(loadings[np.abs(loadings).argmax(axis=0), range(components)] < 0, -1, 1)
    return values, basis @ rotation, products @ rotation / values, total


def _orthonormal(run: Analysis, basis: Floats, Y: Floats, number: int) -> Floats:
    """Orthonormalise over all sites what an orthonormal basis leaves of the columns of Y, if anything."""
    among, own = np.vsplit(run.sum("basis", np.hstack([basis, Y]).T @ Y, part=number), [basis.shape[1]])
    values, rotation = np.linalg.eigh(own - among.T @ among)
    left = values > NOTHING * np.trace(own)
    return np.asarray((Y - basis @ among) @ (rotation[:, left] / np.sqrt(values[left])))


def _scores(scores: Floats, ids: NDArray[np.object_] | None) -> pd.DataFrame:
    frame = pd.DataFrame(scores, columns=[f"pc{number}" for number in range(1, scores.shape[1] + 1)])
    frame.insert(0, "id", ids)
    return frame
