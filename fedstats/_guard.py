"""Makes sure that the `protocols` and `transport` that Python finds are the ones of this fedstats.

Both names are short, and stand beside `fedstats` at the top level. A script that lies next to a
`transport.py` of its own would otherwise fail far from the cause, or run other code in its place.
"""

from __future__ import annotations

import importlib.util
from importlib.machinery import ModuleSpec
from pathlib import Path

#: The packages that are installed beside `fedstats`, in the same wheel.
SIBLINGS = ("protocols", "transport")


def check_siblings() -> None:
    """Raise ImportError, naming the file in the way and the remedy, unless both siblings are ours."""
    home = Path(__file__).resolve().parent.parent
    for name in SIBLINGS:
        found = _location(_find(name))
        if found is None:
            raise ImportError(
                f"fedstats comes with a package {name!r}, which is not at {home / name}: "
                "the installation is incomplete; install fedstats again",
                name=name,
            )
        if found != home / name:
            raise ImportError(
                f"{found} hides the package {name!r} that belongs to fedstats ({home / name}): "
                "rename it, or take its folder out of PYTHONPATH or away from your script",
                name=name,
                path=str(found),
            )


def _find(name: str) -> ModuleSpec | None:
    try:
        return importlib.util.find_spec(name)
    except ValueError:  # something was put into sys.modules by hand
        return None


def _location(spec: ModuleSpec | None) -> Path | None:
    """Return the folder of a package, or the file of a module that is none."""
    if spec is None:
        return None
    if spec.submodule_search_locations:
        return Path(next(iter(spec.submodule_search_locations))).resolve()
    return Path(spec.origin).resolve() if spec.origin else None
