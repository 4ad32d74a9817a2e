"""`fedstats init` and `fedstats rotate`: a site's keys, and the card that goes to the other sites."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fedstats.cli._output import console
from fedstats.site import Site, create_site
from transport.card import Card
from transport.certificate import DEFAULT_DAYS
from transport.manifest import Manifest
from transport.sitekeys import SiteKeys

SiteFile = Annotated[Path, typer.Option("--site", help="This site's site.toml.", metavar="FILE")]
Endpoint = Annotated[
    str | None, typer.Option(metavar="HOST:PORT", help="Where the other sites reach this one.")
]
Days = Annotated[int, typer.Option(min=1, max=825, help="Days for which the TLS certificate is valid.")]


def init(
    name: Annotated[str, typer.Argument(help="The site's name: lower-case letters, digits, hyphens.")],
    endpoint: Endpoint = None,
    listen: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="Where this site accepts connections, if that differs: behind a NAT, or one interface only.",
        ),
    ] = None,
    directory: Annotated[Path, typer.Option(help="The site's folder.")] = Path(),
    days: Days = int(DEFAULT_DAYS),
) -> None:
    """Make this machine a site: keys, certificate, site.toml and a card for the others.

    Without --endpoint, the site only dials out: every other site must then have an endpoint.
    Nothing is overwritten.
    """
    site = create_site(directory, name, endpoint=endpoint, listen=listen, days=days)
    console.print(f"Site [bold]{name}[/] made in {directory.resolve()}:", soft_wrap=True)
    console.print(
        f"  {directory / 'keys'}  secret; readable by you alone, and never to be sent", soft_wrap=True
    )
    console.print(
        f"  {directory / 'site.toml'}  register this site's files and set its rules here", soft_wrap=True
    )
    console.print(f"  {directory / site.card.name}  public; send it to the site that draws up the federation")
    _print_words(Card.load(site.card))


def rotate(
    site: SiteFile = Path("site.toml"),
    endpoint: Endpoint = None,
    days: Days = int(DEFAULT_DAYS),
) -> None:
    """Issue a new certificate, and with it a new card.

    The present epoch goes on working until all sites have signed the next one, drawn up with
    `fedstats federation create --previous federation.toml NEW_CARD`. Expired certificates that the
    present epoch does not name are deleted.
    """
    config = Site.load(site)
    keys = SiteKeys.load(config.keys).rotate(endpoint=endpoint, days=days)
    keep = {keys.card.fingerprint}
    if config.federation.exists():
        keep.add(Manifest.load(config.federation).card(config.name).fingerprint)
    keys.forget(keep)
    keys.card.save(config.card)
    console.print(
        f"New certificate of site [bold]{config.name}[/], valid until {keys.card.expires:%Y-%m-%d}. "
        f"Send {config.card} to the site that draws up the next epoch.",
        soft_wrap=True,
    )
    _print_words(keys.card)


def _print_words(card: Card) -> None:
    console.print("Fingerprint, to be compared by telephone:")
    console.print(f"  {card.name}  [bold cyan]{card.words}[/]", highlight=False)
