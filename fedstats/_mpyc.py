"""Programs of MPyC in a session: an opening for what fedstats has no function for.

What such a program opens nobody has declared: it is recorded, number by number, but it is whatever the script
says. So each site's steward must allow it, and a session shows it in its leakage.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from fedstats.disclosure import Declaration
from fedstats.errors import DataError, PolicyError
from protocols.mpyc_bridge import mpyc_runtime
from protocols.mpyc_modules import load

if TYPE_CHECKING:
    from fedstats.federation import Federation
    from protocols.mpyc_runtime import MeshRuntime

DECLARATION = Declaration(
    name="mpyc",
    published={"program": "that this site takes part in a program of MPyC, and MPyC's statistical security"},
    result={
        "output": "whatever the script opens by MPyC's output or peek",
        "public test": "whether secrets are zero, or equal, where the script asks in public",
        "transfer": "objects that the script sends from site to site in the clear, in bytes",
    },
)


@contextmanager
def program(federation: Federation, security: int | None) -> Iterator[MeshRuntime]:
    """Run a program of MPyC; see `Federation.mpyc`."""

    def local() -> Mapping[str, Any]:
        if federation.shared_policy.full:
            raise PolicyError(
                'mpyc: the federation\'s rule security = "dishonest-majority" asks for more than MPyC gives, '
                "whose shares hide from fewer than half of the sites: sign an epoch without it"
            )
        if not federation.policy.allow_mpyc:
            raise PolicyError(
                "mpyc: this site's rule allow_mpyc = false forbids programs of MPyC, which open anything: "
                "its steward can read the script, and set allow_mpyc = true in [policy] of site.toml"
            )
        try:
            load()
        except ImportError as error:
            raise DataError(str(error)) from error
        return {"security": security}

    with federation.analysis(DECLARATION, "result") as analysis:
        said = analysis.agree("program", local)
        for site, metadata in said.items():
            if metadata != said[federation.site]:
                raise DataError(
                    f"mpyc: site {site} asked for a security of {metadata.get('security')}, this site for "
                    f"{security}: let all say the same"
                )
        with analysis.on_shares() as engine, mpyc_runtime(engine, security=security) as runtime:
            yield runtime
        analysis.finish()
