"""A session: the sites that run one script together, seen from one of them."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, overload

import pandas as pd

from fedstats.analysis import Analysis
from fedstats.consent import Consent
from fedstats.disclosure import Declaration, Leakage, Reveal
from fedstats.errors import DataError, FedStatsError, PolicyError
from fedstats.ledger import Ledger
from fedstats.policy import FederationPolicy, SitePolicy
from fedstats.results import Cost
from fedstats.rowsets import RowSets
from protocols.oblivious.crossing import Crossing
from protocols.paillier import library
from protocols.paillier.ciphering import Ciphering
from protocols.party import Party
from protocols.triples.cheaper import Cheaper
from protocols.triples.pool import Triples
from protocols.triples.source import Source
from transport.base import Mesh, Traffic
from transport.errors import AbortCode

if TYPE_CHECKING:
    from fedstats.cohort import Cohort
    from fedstats.gwas.genotypes import Genotypes
    from fedstats.linkage import Similar
    from fedstats.records import Records
    from fedstats.vertical.cohort import VerticalCohort
    from protocols.mpyc_runtime import MeshRuntime


class Federation:
    """One site's side of a session. Obtained from `join` or `simulate`, used in a `with` block.

    Leaving the block in good order says goodbye to the other sites; leaving it by an exception
    tells them to stop, and the class of the error, nothing else.

    Parameters
    ----------
    mesh
        The connected mesh.
    policy
        This site's own rules.
    shared
        The rules that all sites signed.
    data
        Names under which this site has registered files, from ``[data]`` in `site.toml`.
    show_progress
        Whether long work draws a progress bar on standard error.
    records
        What this site keeps of its sessions; None at a simulated site.
    consent
        Where it is written whose rows may be used; None if all may.

    Attributes
    ----------
    site
        This site's name.
    sites
        Names of all sites, sorted. Every analysis runs over all of them: sums over two sets of
        sites that differ by one would reveal that one's.
    """

    def __init__(
        self,
        mesh: Mesh,
        *,
        policy: SitePolicy | None = None,
        shared: FederationPolicy | None = None,
        data: Mapping[str, Path] | None = None,
        show_progress: bool = False,
        records: Records | None = None,
        consent: Consent | None = None,
    ) -> None:
        self.site = mesh.me
        self.sites = mesh.roster
        self.party = Party(mesh)
        self.policy = policy or SitePolicy()
        self.shared_policy = shared or FederationPolicy()
        self.show_progress = show_progress
        self.records = records
        self.consent = consent
        #: Columns that the present analysis has asked each cohort for; what rules look at.
        self.asked_columns: dict[Cohort | VerticalCohort, set[str]] = {}
        #: Columns of numbers whose values it counts, and the narrowest bins.
        self.asked_widths: dict[str, float] = {}
        self._row_sets: RowSets | None = None
        self._triples: Triples | None = None
        self._ledger: Ledger | None = None
        self._mesh = mesh
        self._data = dict(data or {})
        self._reveals: list[Reveal] = []
        self._calls = count(1)
        self._started = time.perf_counter()

    @overload
    def cohort(
        self,
        source: str | os.PathLike[str] | pd.DataFrame,
        *,
        id: str | None = None,
        levels: Mapping[str, Sequence[str]] | None = None,
    ) -> Cohort: ...

    @overload
    def cohort(
        self,
        source: str | os.PathLike[str] | pd.DataFrame | None,
        *,
        partition: Literal["vertical"],
        on: str | Sequence[str] | Similar,
    ) -> VerticalCohort: ...

    def cohort(
        self,
        source: str | os.PathLike[str] | pd.DataFrame | None,
        *,
        id: str | None = None,  # noqa: A002  (the word that the column has in every cohort)
        levels: Mapping[str, Sequence[str]] | None = None,
        partition: Literal["horizontal", "vertical"] = "horizontal",
        on: str | Sequence[str] | Similar | None = None,
    ) -> Cohort | VerticalCohort:
        """Agree with the other sites on the columns of their tables.

        Parameters
        ----------
        source
            This site's rows: a CSV or parquet file, a name registered in `site.toml`, or a data
            frame.
        id
            Column that identifies a row, by which genotypes are matched. It is never sent. With
            ``partition="vertical"``, sites without genotypes need not have it.
        levels
            Levels of categorical columns, where they are known beforehand: they are then not
            exchanged. Analyses that use the column refuse a site with any other level; those of
            `fedstats.privacy` take it as missing.
        partition
            ``"horizontal"``: each site has other patients, and the same columns. ``"vertical"``: sites have
            other columns, of patients that several of them may have. These are linked by private set
            intersection, and nobody learns which they are; see `protocols.psi.intersection`. A site without a
            table takes part too, with `source` None.
        on
            With ``partition="vertical"``, the columns that identify a patient, at every site that has a
            table, such as ``["name", "birth_date"]``. They are compared without case, accents, punctuation
            and leading zeros, and must all agree. Or `fedstats.linkage.similar`, where they may differ by
            typing errors.

        Returns
        -------
        Cohort or VerticalCohort
            This site's rows with the agreed schema; or its columns, linked.

        Raises
        ------
        DataError
            The file cannot be read, or has a column twice.
        RemoteError
            The same at another site.

        Notes
        -----
        Rows of people who have withdrawn consent are left out first, see `fedstats.consent`.

        **Leakage.** Every site learns every other site's column names and types. Levels of a
        categorical column are exchanged only when an analysis uses it. Where patients are linked, every
        site learns how many each has, and how many any two, and all, have in common; where patients are
        alike, and not equal, so many as are linked, and what `fedstats.vertical.similar` declares.
        """
        from fedstats.cohort import Cohort
        from fedstats.vertical.cohort import VerticalCohort

        if partition == "vertical":
            if levels:
                raise DataError("with partition='vertical' levels are not declared")
            return VerticalCohort.link(self, source, on or (), id)
        if partition != "horizontal" or on is not None or source is None:
            raise DataError(
                "on= and a source of None go with partition='vertical'; the other one is 'horizontal'"
            )
        return Cohort.agree(self, source, id=id, levels=levels or {})

    def genotypes(self, path: str | os.PathLike[str] | None) -> Genotypes:
        """Open this site's genotypes: PLINK 1, PLINK 2, VCF, BCF or BGEN.

        Parameters
        ----------
        path
            A .bed file or its prefix, a .pgen, .vcf, .vcf.gz, .bcf or .bgen file, or a name registered in
            `site.toml`. All but PLINK 1 need ``pip install 'fedstats[genotypes]'``. None at the sites that
            have none, where columns are linked and one site has the genotypes of all.

        Raises
        ------
        DataError
            The files are missing, truncated, of another format, or do not fit together. Raised at
            the first analysis that uses them, so that all sites stop together.
        """
        from fedstats.gwas.genotypes import Genotypes

        return Genotypes(self, None if path is None else self.locate(path))

    def mpyc(self, *, security: int | None = None) -> AbstractContextManager[MeshRuntime]:
        """Run a program of MPyC among the sites: for what fedstats has no function for.

        Parameters
        ----------
        security
            MPyC's statistical parameter, 40 by default. MPyC's own default is 30, which leaves ten bits
            more to its numbers.

        Returns
        -------
        context manager
            Of an MPyC runtime whose parties are the sites. Within the block ``from mpyc.runtime import mpc``
            means it too, so that modules written for MPyC run unchanged.

        Raises
        ------
        PolicyError
            This site's rules do not allow it, or there are two sites only. The others raise RemoteError.
        DataError
            MPyC is not installed (``pip install 'fedstats[mpyc]'``), or the sites ask for different
            securities.

        Notes
        -----
        **Leakage.** What the script opens: each ``output``, public test and ``transfer`` passes the gate, and
        is recorded with the number of its numbers, in `Federation.leakage`. What it means, nobody but the
        script says; nor does anybody check that it is a sum over many rows. Therefore each site must allow
        it, by ``allow_mpyc = true`` in ``[policy]`` of its `site.toml`: read the script first. The record is
        there for what sites agree on; MPyC's inner methods are not fenced in. A coalition of t sites learns
        nothing beyond that; see `protocols.mpyc_bridge`.

        **Cost.** Four rounds to begin and to end, and those of the program.

        References
        ----------
        B. Schoenmakers, "MPyC: Multiparty Computation in Python", https://github.com/lschoe/mpyc.

        Examples
        --------
        >>> def oldest(fed, ages):
        ...     with fed.mpyc() as mpc:
        ...         secint = mpc.SecInt(16)
        ...         return int(mpc.run(mpc.output(mpc.max(mpc.input(secint(max(ages)))))))
        >>> import fedstats as fs
        >>> allowing = fs.policy.SitePolicy(allow_mpyc=True)
        >>> fs.simulate(oldest, [[61, 45], [70], [38, 52]], policy=allowing)
        [70, 70, 70]
        """
        from fedstats._mpyc import program

        return program(self, security)

    def locate(self, source: str | os.PathLike[str]) -> Path:
        """Return the path of a registered name, or of a file."""
        path = self._data.get(os.fspath(source))
        return Path(source) if path is None else path

    def analysis(self, declaration: Declaration, disclose: str | None = None) -> Analysis:
        """Open the gate for one analysis; for methods developers, see CONTRIBUTING.md.

        `disclose` is None for what opens nothing, as agreeing on a schema.
        """
        return Analysis(self, declaration, disclose, f"{declaration.name}#{next(self._calls)}")

    def asked(self, cohort: Cohort | VerticalCohort, name: str) -> None:
        """Note that a column was asked for; called by the cohort's schema."""
        self.asked_columns.setdefault(cohort, set()).add(name)

    def divided(self, name: str, width: float) -> None:
        """Note that values of a column of numbers are counted, by bins of a width; 0 for each value apart."""
        self.asked_widths[name] = min(width, self.asked_widths.get(name, width))

    @property
    def triples(self) -> Triples | None:
        """What products on shares are made of if the federation fears a dishonest majority; made once."""
        if self._triples is None and self.shared_policy.full:
            self._triples = Triples(self._source())
        return self._triples

    def check_encryption(self) -> None:
        """Raise PolicyError if this site cannot make triples as the federation's rules ask for."""
        megabits = self.shared_policy.link_megabits
        if not (megabits and self.shared_policy.full):
            return
        try:
            library.require()
        except ImportError as error:
            raise PolicyError(
                f"the federation's rule link_megabits = {megabits} asks for Paillier's encryption: "
                "pip install 'fedstats[he]' at this site"
            ) from error

    def _source(self) -> Source:
        megabits = self.shared_policy.link_megabits
        if not megabits:
            return Crossing(self.party, "transfers")
        return Cheaper(
            Crossing(self.party, "transfers"),
            lambda: Ciphering(self.party, "encryption"),
            bytes_a_second=megabits * 1e6 / 8,
        )

    @property
    def row_sets(self) -> RowSets:
        """Which rows were analysed before, see `fedstats.rowsets`; opened when a rule first asks for it."""
        if self._row_sets is None:
            self._row_sets = RowSets.in_memory() if self.records is None else self.records.row_sets()
        return self._row_sets

    @property
    def ledger(self) -> Ledger:
        """What was spent of this site's privacy budgets; opened when an analysis first asks for it."""
        if self._ledger is None:
            self._ledger = Ledger(None) if self.records is None else self.records.ledger()
        return self._ledger

    def registered(self, path: Path | None) -> frozenset[str]:
        """Return the names under which this site has registered a file; none if it has not."""
        if path is None:
            return frozenset()
        return frozenset(name for name, its in self._data.items() if its.resolve() == path.resolve())

    def log(self, event: str, **body: Any) -> None:
        """Write to the audit log, if this site keeps one; called by the gate before anything is opened."""
        if self.records is not None:
            self.records.note(event, **body)

    def log_syncing(self) -> AbstractContextManager[None]:
        """Bring the audit log to the disk while a block runs, see `Records.syncing`."""
        return nullcontext() if self.records is None else self.records.syncing()

    def record(self, reveals: Iterable[Reveal]) -> None:
        """Add what an analysis revealed to the session's account; called by the gate."""
        self._reveals.extend(reveals)

    @property
    def traffic(self) -> Traffic:
        """Exact counts of what this site has sent and received."""
        return self._mesh.traffic

    @property
    def leakage(self) -> Leakage:
        """Everything that the session has revealed so far."""
        return Leakage.collect(self._reveals)

    @property
    def cost(self) -> Cost:
        """What the session has cost this site so far."""
        return Cost(
            self.traffic.rounds,
            self.traffic.bytes_sent,
            self.traffic.bytes_received,
            time.perf_counter() - self._started,
        )

    def close(self) -> None:
        """End the session in good order: the audit log's end is countersigned, and the others told.

        Sites that keep a log wait for one another here, until the timeout: let long work that needs no
        other site come after. A site that does not come leaves the end without its signature, which the
        log says; results stand.
        """
        if self.records is not None:
            self.records.end(self.party)
        self._forget()
        self._mesh.close()

    def fail(self, error: BaseException) -> None:
        """End the session because of an error: the others are told its class, and the log too."""
        if isinstance(error, FedStatsError):
            self._mesh.abort(error.code, origin=error.site)
        elif isinstance(error, KeyboardInterrupt):
            self._mesh.abort(AbortCode.INTERRUPTED)
        else:
            self._mesh.abort(AbortCode.INTERNAL)
        if self.records is not None:
            self.records.end(self.party, type(error).__name__)
        self._forget()

    def _forget(self) -> None:
        if self._row_sets is not None:
            self._row_sets.close()
            self._row_sets = None
        if self._ledger is not None:
            self._ledger.close()
            self._ledger = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            self.fail(error)

    def __repr__(self) -> str:
        return f"<Federation: site {self.site} of {', '.join(self.sites)}>"
