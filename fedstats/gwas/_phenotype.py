"""Simulated people: where they live, age, sex, ancestry, and traits that depend on these and on genotypes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.linalg import helmert

#: Share of a trait's variance that is due to each; what heritability leaves over is noise.
VARIANCE_SHARES: Final = {"age": 0.10, "sex": 0.05, "ancestry": 0.05}

#: Mean and standard deviation of a trait: those of LDL cholesterol, mmol/l.
TRAIT_MEAN: Final = 3.4
TRAIT_SD: Final = 1.0

#: Weight of a site's home population among the site's samples; every other one has weight 1.
_HOME_WEIGHT: Final = 5
#: Standard deviation of ancestry scores about those of the population.
_SCORE_SPREAD: Final = 0.1


def home_populations(
    site: NDArray[np.int64], populations: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Draw each sample's population; site i mostly has population i modulo `populations`."""
    at_home = rng.random(site.size) < (_HOME_WEIGHT - 1) / (_HOME_WEIGHT - 1 + populations)
    return np.where(at_home, site % populations, rng.integers(populations, size=site.size))


def draw_people(
    site: NDArray[np.int64], population: NDArray[np.int64], names: Sequence[str], rng: np.random.Generator
) -> pd.DataFrame:
    """Draw covariates.

    Parameters
    ----------
    site, population : ndarray of int64, shape (samples,)
        Where each sample is from.
    names
        Names of the sites.

    Returns
    -------
    DataFrame
        `sample_id`; `age` in years, which differs over sites; `sex`; and ancestry scores `pc1`, `pc2`, …,
        one less than there are populations, as principal components would give them.
    """
    serial = pd.Series(site).groupby(site).cumcount() + 1
    people = pd.DataFrame(
        {
            "sample_id": [f"{names[s]}-{number:06d}" for s, number in zip(site, serial, strict=True)],
            "age": np.clip(rng.normal(50 + 3 * site, 12), 18, 95).round(1),
            "sex": np.where(rng.random(site.size) < 0.5, "male", "female"),
        }
    )
    populations = int(population.max()) + 1
    if populations > 1:
        centres = helmert(populations).T[population]
        scores = centres + rng.normal(scale=_SCORE_SPREAD, size=centres.shape)
        for number, score in enumerate(scores.T, start=1):
            people[f"pc{number}"] = score
    return people


def draw_trait(
    dosages: NDArray[np.int8],
    people: pd.DataFrame,
    heritability: float,
    rng: np.random.Generator,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Draw a quantitative trait.

    Parameters
    ----------
    dosages : ndarray of int8, shape (causal variants, samples)
        Copies of allele 1.
    people
        As `draw_people` gives them.
    heritability
        Share of the trait's variance that the genotypes explain.

    Returns
    -------
    trait : ndarray of float64, shape (samples,)
    effects : ndarray of float64, shape (causal variants,)
        Effect of one copy of allele 1, in the trait's unit.
    """
    spread = dosages.std(axis=1)
    # Similar shares of variance, either sign; a variant without variation has no effect.
    effects = rng.choice([-1.0, 1.0], len(dosages)) * rng.uniform(0.7, 1.3, len(dosages))
    effects = np.divide(effects, spread, out=np.zeros_like(effects), where=spread > 0)
    genetic = effects @ dosages
    scale = TRAIT_SD * np.sqrt(heritability) / genetic.std() if genetic.std() > 0 else 0.0

    shares = {
        "age": people["age"].to_numpy(),
        "sex": (people["sex"] == "male").to_numpy(np.float64),
        "ancestry": people.filter(regex=r"^pc\d").to_numpy().sum(axis=1),
    }
    noise_share = 1 - heritability - sum(VARIANCE_SHARES.values())
    trait = TRAIT_MEAN + scale * (genetic - genetic.mean())
    for name, values in shares.items():
        trait += TRAIT_SD * np.sqrt(VARIANCE_SHARES[name]) * _standardised(values)
    trait += TRAIT_SD * np.sqrt(noise_share) * rng.normal(size=trait.size)
    return trait, scale * effects


def _standardised(values: NDArray[np.float64]) -> NDArray[np.float64]:
    spread = values.std()
    return (values - values.mean()) / spread if spread > 0 else np.zeros_like(values)
