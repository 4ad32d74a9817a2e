"""Proof that all parties received the same: their transcripts' digests, compared."""

from __future__ import annotations

from protocols.errors import CodecError, Disagreement
from protocols.party import Party
from protocols.publish import publish


def confirm(party: Party, label: str) -> None:
    """Compare the digest of everything received alike so far; see `Party.transcript`.

    Results are computed from what their owners send to all. A party that told its peers different
    things, by fault or by malice, is found out here, before anything is made of the results.

    Parameters
    ----------
    party
        This party.
    label
        The step's name, the same at every party and used once in a session.

    Raises
    ------
    Disagreement
        The parties hold different results; discard them all.

    Notes
    -----
    **Leakage.** Nothing: a digest of what all parties know already.

    **Cost.** One round; 37 bytes to each peer.
    """
    ours = party.transcript
    digests = publish(party, label, ours)
    for peer, digest in digests.items():
        if not isinstance(digest, bytes) or len(digest) != len(ours):
            raise CodecError(f"site {peer} sent no transcript at step {label!r}", peer=peer)
    differing = [peer for peer, digest in digests.items() if digest != ours]
    if differing:
        raise Disagreement(
            f"at step {label!r} {', '.join(differing)} received other results than {party.me}: one of the "
            "sites sent different data to its peers; discard this session's results",
            peer=differing[0] if len(differing) == 1 else None,
        )
