"""`fedstats federation`: draw up, sign, merge and verify the federation's manifest."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.table import Table

from fedstats.cli._output import console, errors
from fedstats.cli.keys import SiteFile
from fedstats.errors import DataError
from fedstats.policy import FederationPolicy
from fedstats.site import Site
from transport.card import Card
from transport.manifest import Manifest
from transport.sitekeys import SiteKeys

app = typer.Typer(no_args_is_help=True, help="Draw up, sign and verify federation.toml.")

ManifestFile = Annotated[Path, typer.Argument(metavar="FEDERATION", help="The manifest.")]


@app.command()
def create(
    cards: Annotated[
        list[Path] | None,
        typer.Argument(metavar="CARD…", help="Peer cards of the sites.", show_default=False),
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="The manifest to write.")] = Path(
        "federation.toml"
    ),
    name: Annotated[str, typer.Option(help="The federation's name.")] = "study",
    previous: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Draw up the epoch after this manifest: cards replace those of the same site, or join.",
        ),
    ] = None,
    remove: Annotated[
        list[str] | None, typer.Option(metavar="SITE", help="With --previous: a site that leaves.")
    ] = None,
    min_cell: Annotated[
        int | None,
        typer.Option(help="Shared rule: groups with fewer pooled rows are not computed."),
    ] = None,
    rule: Annotated[
        list[str] | None,
        typer.Option(
            metavar="RULE=VALUE", help="Any shared rule, such as min_rows=20; see FederationPolicy."
        ),
    ] = None,
    timeout: Annotated[
        float | None, typer.Option(help="Seconds to wait for any one message (a site may set its own).")
    ] = None,
) -> None:
    """Draw up federation.toml from the sites' cards, unsigned.

    Any site can do this; the file says nothing until every site has signed it.
    """
    loaded = [Card.load(path) for path in cards or []]
    rules = _rules(rule or []) | ({} if min_cell is None else {"min_cell": min_cell})
    FederationPolicy.from_table(rules, "the command line")
    if output.exists() and (previous is None or output.resolve() != previous.resolve()):
        raise DataError(f"{output} exists, and nothing is overwritten: choose another --output")
    if previous is None:
        if remove:
            raise typer.BadParameter("--remove needs --previous")
        manifest = Manifest.create(loaded, name, policy=rules, timeout=timeout)
    else:
        old = Manifest.load(previous)
        present = set(old.names)
        manifest = old.next_epoch(
            replace_cards=[card for card in loaded if card.name in present],
            add=[card for card in loaded if card.name not in present],
            remove=remove or [],
            policy={**old.policy, **rules},
        )
    manifest.save(output)
    _show(manifest)
    console.print(
        f"\nWrote {output}. Each site now runs `fedstats federation sign {output.name}`.", soft_wrap=True
    )


@app.command()
def sign(
    manifest_file: ManifestFile = Path("federation.toml"),
    site: SiteFile = Path("site.toml"),
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="The fingerprints have been compared; do not ask.")
    ] = False,
) -> None:
    """Sign the manifest with this site's identity key, once its fingerprints have been compared.

    Signatures of other sites are kept: pass one file round, or `merge` copies signed in parallel.
    """
    config = Site.load(site)
    manifest = Manifest.load(manifest_file)
    _show(manifest)
    if not yes:
        _ask()
    signed = manifest.sign(SiteKeys.load(config.keys).identity)
    signed.save(manifest_file)
    rest = ", ".join(signed.unsigned)
    console.print(
        f"\nSigned by [bold]{config.name}[/]. "
        + (f"Still to sign: {rest}." if rest else "All sites have signed."),
        soft_wrap=True,
    )


@app.command()
def merge(
    copies: Annotated[list[Path], typer.Argument(metavar="COPY…", help="Copies signed by different sites.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The manifest to write.")] = Path(
        "federation.toml"
    ),
) -> None:
    """Put the signatures of several copies of one manifest into one file."""
    merged, *others = (Manifest.load(path) for path in copies)
    for other in others:
        merged = merged.merge(other)
    if output.exists() and Manifest.load(output).hash != merged.hash:
        raise DataError(f"{output} is another manifest, and is not overwritten: choose another --output")
    merged.save(output)
    _show(merged)


@app.command()
def verify(manifest_file: ManifestFile = Path("federation.toml")) -> None:
    """Check every card and signature, and show the fingerprints to be compared by telephone.

    Read the manifest's fingerprint out to each other: it covers everything in the file.
    """
    manifest = Manifest.load(manifest_file)
    _show(manifest)
    manifest.verify()
    console.print(f"\n[bold green]Valid[/]: signed by all {len(manifest.names)} sites.")


def _rules(texts: list[str]) -> dict[str, Any]:
    """Read shared rules as they would stand in the manifest."""
    rules: dict[str, Any] = {}
    for text in texts:
        try:
            rules |= tomllib.loads(text)
        except tomllib.TOMLDecodeError:
            raise typer.BadParameter(f"--rule {text}: write RULE=VALUE, such as min_rows=20") from None
    return rules


def _show(manifest: Manifest) -> None:
    """Print what a manifest says, with the fingerprints of the sites and of the whole."""
    table = Table(
        title=f"Federation {manifest.name}, epoch {manifest.epoch}",
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
    )
    for column in ("site", "endpoint", "certificate until", "signed"):
        table.add_column(column, no_wrap=True)
    for card in manifest.peers:
        table.add_row(
            card.name,
            card.endpoint or "dials out",
            f"{card.expires:%Y-%m-%d}",
            "yes" if card.name in manifest.signatures else "[yellow]not yet[/]",
        )
    console.print(table)
    rules = ", ".join(f"{key} = {value}" for key, value in manifest.policy.items()) or "the defaults"
    console.print(f"Shared rules: {rules}", highlight=False)
    console.print("Fingerprints, to be compared by telephone:")
    width = max(len(name) for name in (*manifest.names, "manifest"))
    for card in manifest.peers:
        console.print(f"  {card.name:{width}}  [cyan]{card.words}[/]", highlight=False)
    console.print(f"  {'manifest':{width}}  [bold cyan]{_words(manifest.hash)}[/]", highlight=False)


def _words(digest: bytes) -> str:
    """Return the first 160 bits in groups of four, as `Card.words` does."""
    text = digest.hex()[:40]
    return " ".join(text[i : i + 4] for i in range(0, 40, 4))


def _ask() -> None:
    if not sys.stdin.isatty():
        raise DataError(
            "signing asks whether the fingerprints have been compared, and nobody is there to answer: "
            "compare them, then add --yes"
        )
    errors.print("\nA signature vouches for these cards. Compare the fingerprints with each site first.")
    typer.confirm("Have they been compared?", abort=True, err=True)
