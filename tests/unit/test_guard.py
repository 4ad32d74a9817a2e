import subprocess
import sys
from pathlib import Path

import pytest

from fedstats._guard import check_siblings

HOME = Path(__file__).resolve().parents[2]


def test_our_own_packages_pass():
    check_siblings()


def run_beside(intruder: Path, code: str) -> subprocess.CompletedProcess[str]:
    """Run code in an interpreter that finds the intruder's folder first, as beside a script."""
    code = f"import sys; sys.path[:0] = [{str(intruder.parent)!r}, {str(HOME)!r}]; {code}"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd="/")


@pytest.mark.parametrize("name", ["protocols", "transport"])
@pytest.mark.parametrize("kind", ["module", "package", "folder"])
def test_an_intruder_is_named_with_the_remedy(tmp_path, name, kind):
    intruder = tmp_path / (f"{name}.py" if kind == "module" else name)
    if kind == "module":
        intruder.write_text("")
    else:
        intruder.mkdir()
        (intruder / ("__init__.py" if kind == "package" else "data.csv")).touch()
    result = run_beside(intruder, "import fedstats")
    if kind == "folder":  # a folder without code does not hide a package further down the path
        assert result.returncode == 0, result.stderr
        return
    assert result.returncode != 0
    assert "ImportError" in result.stderr
    assert f"{intruder} hides the package {name!r} that belongs to fedstats ({HOME / name})" in result.stderr
    assert "rename it" in result.stderr


def test_a_module_put_in_by_hand_is_an_intruder_too():
    code = "import types; sys.modules['transport'] = types.ModuleType('transport'); import fedstats"
    result = run_beside(HOME / "nowhere", code)
    assert "the installation is incomplete" in result.stderr
