"""The attack on membership of Homer et al. on what each mode opens: who can be told from somebody else?

An adversary holds a genome and the allele frequencies of the population that the sites draw their samples
from, and correlates the genome's deviations from these with the deviations of what the study published. The
test mounts it on members of the study and on as many people of the same population who are none. Samples and
noise are the same in every run: what differs are roundings in the last digit that is opened.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytest
from gwas_helpers import Panel, scan
from scipy import stats

import fedstats as fs

SAMPLES = 150
VARIANTS = 3_000


@dataclass(frozen=True)
class Study:
    population: np.ndarray
    members: np.ndarray
    strangers: np.ndarray
    found: dict[str, Any]

    def frequencies(self, what: str) -> np.ndarray:
        """What an adversary makes of a result: the frequency of allele 1, NaN where there is no telling."""
        result = self.found[what]
        is_interaction = isinstance(result, fs.gwas.InteractionResult)
        table = (result.of("g") if is_interaction else result.to_frame()).set_index("rsid")
        found = np.full(VARIANTS, np.nan)
        rows = [int(rsid[2:]) for rsid in table.index]
        if isinstance(result, fs.gwas.ScreenResult):
            # How far from the population's it may be expected to be, as it is on this side of the threshold.
            p, threshold = self.population, result.thresholds["frequency"]
            spread = np.sqrt(p * (1 - p) / (2 * SAMPLES))
            place = (threshold - p) / spread
            found = p - spread * stats.norm.pdf(place) / stats.norm.cdf(place)
            found[rows] = (p + spread * stats.norm.pdf(place) / stats.norm.sf(place))[rows]
            return found
        if what in ("aggregate", "rounded"):
            known = table["effect_allele_frequency"].to_numpy()
        else:
            # se² = residual variance / (n · 2p(1 − p)), or so, of a trait with variance 1.
            variance = 1 / (table["standard_error"] ** 2 * SAMPLES)
            known = (1 - np.sqrt(np.clip(1 - 2 * variance, 0, 1))) / 2  # allele 1 is the rarer one
        found[rows] = known
        return found

    def auc(self, what: str) -> float:
        """Probability that a member scores higher than a stranger; one half is guessing."""
        published = self.frequencies(what)
        known = ~np.isnan(published)
        if not known.any():
            return 0.5
        gap = (published - self.population)[known]
        scores = [
            (people[known] / 2 - self.population[known, np.newaxis]).T @ gap
            for people in (self.members, self.strangers)
        ]
        return float((scores[0][:, np.newaxis] > scores[1]).mean())


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    random = np.random.default_rng(12)
    population = random.uniform(0.1, 0.4, VARIANTS)
    people = random.binomial(2, population[:, np.newaxis], (VARIANTS, 2 * SAMPLES)).astype(np.int8)
    members, strangers = np.hsplit(people, 2)
    trait = random.normal(size=SAMPLES)
    rows = pd.DataFrame({"iid": [f"{n:04d}" for n in range(SAMPLES)], "trait": trait / trait.std()})
    rows["age"] = stats.zscore(random.normal(size=SAMPLES))
    variants = pd.DataFrame(
        {
            "chromosome": "1",
            "rsid": [f"rs{number}" for number in range(VARIANTS)],
            "base_pair_location": np.arange(1, VARIANTS + 1),
            "allele1": "A",
            "allele2": "G",
        }
    )
    parts = Panel(members, variants, rows).deal(tmp_path_factory.mktemp("study"), [40, 50], alike=True)
    found = {
        mode: scan(parts, fs.gwas.linear, trait="trait", disclose=mode)
        for mode in ("aggregate", "result", "gated")
    }
    found["rounded"] = scan(parts, fs.gwas.qc, disclose="result")
    for mode in ("aggregate", "result", "gated"):
        options = {"trait": "trait", "modifiers": ["age"], "disclose": mode, "threshold": 5e-3}
        found[f"interactions, {mode}"] = scan(parts, fs.gwas.interaction, **options)
    for least in (0.02, 0.25):
        found[f"screened {least}"] = scan(parts, fs.gwas.screen, maf=least)
    return Study(population, members, strangers, found)


def test_pooled_frequencies_give_every_member_away(study: Study) -> None:
    assert study.auc("aggregate") > 0.99


def test_standard_errors_tell_frequencies_nearly(study: Study) -> None:
    """What the documentation of the mode says: it is for few recipients, or few variants."""
    assert 0.7 < study.auc("result") < study.auc("aggregate") + 0.005


def test_rounded_frequencies_tell_members_too(study: Study) -> None:
    """What the documentation of `gwas.qc` says of frequencies on shares: `screen` is for others."""
    assert study.auc("rounded") > 0.9


@pytest.mark.parametrize("mode", ["aggregate", "result"])
def test_interactions_tell_as_much(study: Study, mode: str) -> None:
    """By standard errors alone; in aggregate mode the sums of copies are opened too."""
    assert study.auc(f"interactions, {mode}") > 0.7


def test_interactions_that_pass_tell_nobody(study: Study) -> None:
    passing = study.found["interactions, gated"].of("g")
    assert 3 < len(passing) < 40
    assert 0.35 < study.auc("interactions, gated") < 0.65


def test_screens_far_from_all_frequencies_tell_nobody(study: Study) -> None:
    assert len(study.found["screened 0.02"].to_frame()) == VARIANTS
    assert 0.35 < study.auc("screened 0.02") < 0.65


def test_screens_amid_the_frequencies_tell_members(study: Study) -> None:
    """A bit for each of 3,000 variants, a third of them within a few standard errors of the threshold."""
    assert 1000 < len(study.found["screened 0.25"].to_frame()) < 2000
    assert study.auc("screened 0.25") > 0.75


def test_what_passes_a_threshold_tells_nobody(study: Study) -> None:
    assert len(study.found["gated"].to_frame()) < 5
    assert 0.35 < study.auc("gated") < 0.65
