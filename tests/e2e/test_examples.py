"""The examples run as they stand, and find what they should."""

from __future__ import annotations

import ast
import contextlib
import io
import re
import runpy
import subprocess
import sys
import textwrap
from pathlib import Path

import pandas as pd
import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(name: str, *arguments: object) -> str:
    """Run an example as a script, warnings being errors; return what it prints."""
    script, printed = str(EXAMPLES / name), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(printed):
        patch.setattr(sys, "argv", [script, *map(str, arguments)])
        runpy.run_path(script, run_name="__main__")
    return printed.getvalue()


@pytest.fixture(scope="module")
def three_hospitals() -> str:
    """What the example prints in a process of its own."""
    command = [sys.executable, "-W", "error", EXAMPLES / "three_hospitals.py"]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=100).stdout


def shown(name: str) -> str:
    """Return what an example's docstring says that it prints."""
    docstring = ast.get_docstring(ast.parse((EXAMPLES / name).read_text(encoding="utf-8")))
    assert docstring is not None
    output = re.split(r"prints(?:, among other things)?::\n", docstring)[1]
    return textwrap.dedent(output.split("\nReferences\n")[0]).strip()


def without_costs(printed: str) -> str:
    """Return what an example prints as docstrings show it."""
    return re.sub(r"Cost: .*", "Cost: …", printed).strip()


def assert_exactly(printed: str, shown: str) -> None:
    """Compare line by line."""
    assert [line.rstrip() for line in without_costs(printed).splitlines()] == shown.splitlines()


def assert_alike(printed: str, shown: str) -> None:
    """Compare word by word, and numbers up to what is rounded at random on shares."""
    words, expected = without_costs(printed).split(), shown.split()
    assert len(words) == len(expected)
    for word, its in zip(words, expected, strict=True):
        if word != its:
            assert float(word) == pytest.approx(float(its), rel=1e-3)


def test_every_example_is_tested() -> None:
    assert {path.name for path in EXAMPLES.glob("*.py")} == {
        "three_hospitals.py",
        "cancer_registry.py",
        "multicentre.py",
        "linear_gwas.py",
        "gwas_pipeline.py",
        "trial.py",
        "table1.py",
        "linked_registries.py",
        "mistyped_registries.py",
        "risk_model.py",
        "private_registry.py",
    }


def test_private_registry() -> None:
    printed = run("private_registry.py")
    assert "mean: ρ = 0.05, (ε, δ) = (1.47, 1e-06)" in printed
    assert "Kaplan–Meier curve of time over 3 sites, by sex" in printed
    assert "Left of the budget: 0.05" in printed
    assert "Refused: privacy.crosstab#6 costs rho = 0.1" in printed


def test_three_hospitals(three_hospitals: str) -> None:
    assert "C(sex)[T.male]  -10.159   5.8014" in three_hospitals
    assert "Opened to every site" in three_hospitals


def test_linear_gwas(tmp_path: Path) -> None:
    assert_alike(run("linear_gwas.py", tmp_path), shown("linear_gwas.py"))
    table = pd.read_csv(tmp_path / "ldl.tsv", sep="\t", dtype={"chromosome": str})
    assert table.columns[:8].tolist() == [
        "chromosome",
        "base_pair_location",
        "effect_allele",
        "other_allele",
        "beta",
        "standard_error",
        "effect_allele_frequency",
        "p_value",
    ]
    assert (table["p_value"] < 5e-8).sum() > 10
    assert (tmp_path / "manhattan.png").stat().st_size > 10_000


def test_gwas_pipeline(tmp_path: Path) -> None:
    printed = run("gwas_pipeline.py", tmp_path)
    assert_alike(printed, shown("gwas_pipeline.py"))
    readme = (EXAMPLES.parent / "README.md").read_text(encoding="utf-8")
    [excerpt] = re.findall(r"`python examples/gwas_pipeline.py` goes .*?```text\n(.*?)```", readme, re.DOTALL)
    assert set(excerpt.splitlines()) <= set(shown("gwas_pipeline.py").splitlines())
    explained = re.search(r"beyond covariates: (0\.\d+) of", printed)
    assert explained is not None
    assert 0.15 < float(explained[1]) < 0.5  # the causal variants make 0.3
    both = pd.read_csv(tmp_path / "by_site.tsv", sep="\t").dropna(subset=["beta", "beta_pooled"])
    assert both["beta"].corr(both["beta_pooled"]) > 0.95
    assert (both["n_sites"] == 3).mean() > 0.9
    assert (tmp_path / "a.checkpoint").stat().st_size > 10_000
    loci = pd.read_csv(tmp_path / "loci.tsv", sep="\t")
    assert 3 < len(loci) < 200
    assert (loci["p_value"] < 5e-8).all()
    assert f"Opened by the gated scan: {len(loci)} of" in printed
    assert len(pd.read_csv(tmp_path / "high_ldl.tsv.gz", sep="\t")) > 1_000
    for plot in ("frequencies", "ancestry", "manhattan", "region", "qq"):
        assert (tmp_path / f"{plot}.png").stat().st_size > 5_000


@pytest.mark.parametrize("name", ["trial.py", "table1.py"])
def test_prints_what_its_docstring_says(name: str) -> None:
    assert_exactly(run(name), shown(name))


@pytest.mark.parametrize("name", ["linked_registries.py", "mistyped_registries.py"])
def test_registries(name: str) -> None:
    assert_alike(run(name), shown(name))


def test_readme_shows_the_example_and_what_it_prints(three_hospitals: str) -> None:
    readme = (EXAMPLES.parent / "README.md").read_text(encoding="utf-8")
    source = (EXAMPLES / "three_hospitals.py").read_text(encoding="utf-8")
    assert source[source.index("import pandas") :] in readme
    # Bytes depend a little on how many bits opened coefficients happen to have.
    spent = re.compile(r"[\d,]+ bytes sent, \d+\.\d+ s$", flags=re.MULTILINE)
    assert spent.sub("", three_hospitals) in spent.sub("", readme)


def test_cancer_registry() -> None:
    """Three registries of 1,384 people: R's figures are in tests/oracle/test_survival.py."""
    printed = run("cancer_registry.py")
    assert_alike(printed, shown("cancer_registry.py"))
    # quantile(survfit(Surv(months, death) ~ sex, mgus2, conf.type = "log-log"), .5), months not below 1
    for sex, figures in (("F", "108 99 121"), ("M", "88 78 97")):
        assert re.search(rf"{sex} 0\.5\s+{figures}\n".replace(" ", r"\s+"), printed)
    # concordance(f <- coxph(Surv(months, death) ~ age + sex + hgb, mgus2)); cox.zph(f, "km")
    assert re.search(r"Concordance\s+0\.69155\n", printed)
    assert re.search(r"GLOBAL\s+39\.871\s+3\s+1\.1347e-08\n", printed)


def test_multicentre(tmp_path: Path) -> None:
    assert_exactly(run("multicentre.py", tmp_path / "forest.png"), shown("multicentre.py"))
    assert (tmp_path / "forest.png").stat().st_size > 5_000


def test_risk_model() -> None:
    printed = run("risk_model.py")
    for part in re.split(r"\n\n", shown("risk_model.py")):
        assert part in printed
