"""What regressions of interactions are made of: modifiers, and the columns that calls are multiplied by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fedstats import formula as formulas
from fedstats.gwas.members import Members, Numbers

if TYPE_CHECKING:
    from fedstats.gwas._traits import Traits
    from fedstats.gwas.genotypes import Block

Floats: TypeAlias = NDArray[np.float64]
Integers: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Modifiers:
    """Modifiers in terms of the orthonormal covariates: e = centre + unit · Q @ mixture.

    Attributes
    ----------
    names
        Columns of the design.
    centre, unit
        Shape ``(modifiers,)``.
    mixture
        Shape ``(covariates, modifiers)``, columns of length 1.
    """

    names: tuple[str, ...]
    centre: Floats
    unit: Floats
    mixture: Floats

    @classmethod
    def of(cls, model: Traits, modifiers: Sequence[str]) -> Modifiers:
        """Find the columns of some terms of the design."""
        texts = [text for term in modifiers for text in formulas.parse(f"1 + {term}").factors]
        which = [
            column
            for column, name in enumerate(model.terms)
            if any(name == text or name.startswith(f"{text}[") for text in texts)
        ]
        # X = [1, Q] @ triangle.
        mixture = model.triangle[1:, 1:][:, which]
        unit = np.linalg.norm(mixture, axis=0)
        return cls(
            tuple(model.terms[column] for column in which),
            model.triangle[0, 1:][which],
            unit,
            mixture / unit,
        )

    @property
    def unframing(self) -> Floats:
        """Takes coefficients of g and g·f, of f = (e − centre) / unit, to those of g and g·e."""
        matrix = np.diag(np.append(1.0, 1 / self.unit))
        matrix[0, 1:] = -self.centre / self.unit
        return matrix


@dataclass(frozen=True, eq=False, repr=False)
class Columns:
    """What calls and squares of calls are multiplied by at this site; its repr shows no row.

    Attributes
    ----------
    plain
        Covariates Q and residuals R.
    products
        The same, and their products with each modifier f.
    squared
        f, and the products of two modifiers.
    mixture
        f = Q @ mixture.
    terms, traits
        Columns of Q and of R.
    """

    plain: Numbers
    products: Numbers
    squared: Numbers
    mixture: Floats
    terms: int
    traits: int

    @classmethod
    def of(cls, members: Members, model: Traits, frame: Modifiers) -> Columns:
        """Make the columns of this site's rows."""
        T = np.hstack([model.Q, model.R])
        f = model.Q @ frame.mixture
        first, second = np.triu_indices(f.shape[1])
        by_modifier = [f[:, [j]] * T for j in range(f.shape[1])]
        terms = model.Q.shape[1]
        return cls(
            members.numbers(T, terms=terms),
            members.numbers(np.hstack([T, *by_modifier])),
            members.numbers(np.hstack([f, f[:, first] * f[:, second]])),
            frame.mixture,
            terms,
            model.R.shape[1],
        )

    @property
    def modifiers(self) -> int:
        """How many there are."""
        return int(self.mixture.shape[1])

    @property
    def of_missing(self) -> int:
        """Sums that a variant without all calls has more."""
        return self.plain.columns + int(self.plain.pairs[0].size)

    def sums(self, block: Block) -> Floats:
        """Return what this site adds for a block of variants."""
        return np.column_stack(
            [block.moments(), block.products(self.products), block.products(self.squared, squared=True)]
        )

    def matrices(self, pooled: Floats, which: Integers, lost: Floats, n: int) -> Floats:
        """Return squares and products over calls of [1, Q, g, g·f, R], of each variant.

        Parameters
        ----------
        pooled
            `sums` of all sites.
        which, lost
            Variants that lack calls, and what they lose.
        n
            Samples.
        """
        k, m, q = self.terms, self.traits, self.modifiers
        missing, total, squares = pooled.T[:3]
        by_column, squared = np.split(pooled[:, 3:], [(k + m) * (q + 1)], axis=1)
        with_g = by_column.reshape(len(pooled), q + 1, k + m)  # g, g·f₁, … times [Q, R]
        size, g = 1 + k + 1 + q + m, 1 + k
        Q, G, R = slice(1, g), slice(g, g + 1 + q), slice(g + 1 + q, size)
        found = np.zeros((len(pooled), size, size))
        found[:, 0, 0] = n - missing
        both = np.r_[1:g, g + 1 + q : size]
        found[:, both, both] = n
        gone, products = np.hsplit(lost, [k + m])
        first, second = self.plain.pairs
        found[which[:, np.newaxis], 0, both] -= gone
        found[which[:, np.newaxis], both[first], both[second]] -= products
        found[:, 0, g] = total
        found[:, 0, g + 1 : g + 1 + q] = with_g[:, 0, :k] @ self.mixture
        found[:, Q, G] = with_g[:, :, :k].transpose(0, 2, 1)
        found[:, G, R] = with_g[:, :, k:]
        found[:, g, g] = squares
        found[:, g, g + 1 : g + 1 + q] = squared[:, :q]
        upper = np.triu_indices(q)
        found[:, g + 1 + upper[0], g + 1 + upper[1]] = squared[:, q:]
        return found + np.triu(found, 1).transpose(0, 2, 1)
