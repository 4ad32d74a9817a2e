"""The gate is the only way out: nothing else in fedstats reaches what sends, and it records first."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

HOME = Path(__file__).resolve().parents[2]
MODULES = {
    path.relative_to(HOME).as_posix(): ast.parse(path.read_text(encoding="utf-8"))
    for package in ("fedstats", "protocols")
    for path in sorted((HOME / package).rglob("*.py"))
}
OURS = {name: tree for name, tree in MODULES.items() if name.startswith("fedstats/")}
#: What of `fedstats` may hold a session's connection, and why.
CONNECTED = {
    "fedstats/analysis.py": "the gate",
    "fedstats/audit.py": "heads of the audit logs",
    "fedstats/records.py": "hands it to the latter",
    "fedstats/_noised.py": "likewise, before noise is drawn",
    "fedstats/federation.py": "makes it, and ends it",
    "fedstats/session.py": "hands it to the records, which begin",
}


def named(annotation: ast.expr | None, name: str) -> bool:
    return annotation is not None and any(
        isinstance(node, ast.Name) and node.id == name for node in ast.walk(annotation)
    )


def senders() -> set[str]:
    """Return the functions and classes of `protocols` that are given a party, and so may send anything."""
    found = set()
    for name, tree in MODULES.items():
        if name.startswith("protocols/"):
            for node in tree.body:
                inside = [its for its in ast.walk(node) if isinstance(its, ast.FunctionDef)]
                arguments = [its for function in inside for its in function.args.args]
                if isinstance(node, ast.FunctionDef | ast.ClassDef) and any(
                    named(its.annotation, "Party") for its in arguments
                ):
                    found.add(node.name)
    return found


def imported(tree: ast.Module, package: str) -> Iterator[tuple[str, str]]:
    """Yield module and name of what a module imports from a package, but for the type checker alone."""
    hidden = {
        id(its)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for its in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in hidden:
            continue
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == package:
            yield from ((str(node.module), alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((its.name, "") for its in node.names if its.name.split(".")[0] == package)


def test_what_sends_is_known_to_the_gate_alone() -> None:
    sending = senders()
    assert {"secure_sum", "publish", "universe", "confirm", "Engine", "Crossing", "Ciphering"} <= sending
    holders: dict[str, set[str]] = {}
    for name, tree in OURS.items():
        its = {what for _, what in imported(tree, "protocols")} & sending
        if its:
            holders[name] = its
    assert holders.pop("fedstats/analysis.py") == {"secure_sum", "publish", "universe", "confirm", "Engine"}
    assert holders.pop("fedstats/audit.py") == {"publish"}
    assert holders.pop("fedstats/federation.py") == {"Crossing", "Ciphering"}  # sources of triples
    # Others compute with the gate's engine: they take it, and make none.
    assert set().union(*holders.values()) <= {"Engine"}
    for name in holders:
        assert not [its for its in ast.walk(OURS[name]) if is_call(its, "Engine")], name


def test_results_on_shares_are_opened_by_the_gate_alone() -> None:
    openings = {"reveal", "opening", "open_shares"}
    users = {
        name
        for name, tree in OURS.items()
        if any(openings & {*module.split("."), what} for module, what in imported(tree, "protocols"))
    }
    assert users == {"fedstats/analysis.py"}
    # And its engine asks it before it opens anything.
    [made] = [its for its in ast.walk(OURS["fedstats/analysis.py"]) if is_call(its, "Engine")]
    [gate] = [its.value for its in made.keywords if its.arg == "gate"]
    assert ast.unparse(gate) == "self._admit"
    [reveal] = [
        its
        for its in MODULES["protocols/reveal.py"].body
        if isinstance(its, ast.FunctionDef) and its.name == "reveal"
    ]
    lines = {
        name: [its.lineno for its in ast.walk(reveal) if is_call(its, name)]
        for name in ("admit", "open_shares")
    }
    assert max(lines["admit"]) < min(lines["open_shares"])


def test_nobody_else_holds_the_connection() -> None:
    def holds(tree: ast.Module) -> bool:
        harmless = {
            id(its.value)
            for its in ast.walk(tree)
            if isinstance(its, ast.Attribute) and its.attr in ("index", "n", "me", "peers")
        }
        return any(
            isinstance(its, ast.Attribute)
            and its.attr in ("party", "mesh", "_mesh")
            and id(its) not in harmless
            for its in ast.walk(tree)
        )

    assert {name for name, tree in OURS.items() if holds(tree)} == CONNECTED.keys()


def test_there_is_no_other_network() -> None:
    network = {"socket", "ssl", "http", "urllib", "grpc", "requests", "httpx", "smtplib", "ftplib", "asyncio"}
    users = set()
    for name, tree in OURS.items():
        for node in ast.walk(tree):
            modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            modules += [its.name for its in node.names] if isinstance(node, ast.Import) else []
            if network & {module.split(".")[0] for module in modules}:
                users.add(name)
    assert users == {"fedstats/cli/_checks.py"}  # whether a port is free, for `fedstats doctor`


def test_the_gate_records_before_it_sends() -> None:
    [gate] = [
        its
        for its in OURS["fedstats/analysis.py"].body
        if isinstance(its, ast.ClassDef) and its.name == "Analysis"
    ]
    sending = {}
    for method in (its for its in gate.body if isinstance(its, ast.FunctionDef)):
        sent = [
            its.lineno
            for its in ast.walk(method)
            for name in ("secure_sum", "universe", "publish", "largest")
            if is_call(its, name)
        ]
        recorded = [
            its.lineno for its in ast.walk(method) for name in ("_record", "log") if is_call(its, name)
        ]
        if sent:
            sending[method.name] = bool(recorded) and min(recorded) < min(sent)
    assert sending == dict.fromkeys(("agree", "link", "sum", "release", "choose"), True)


def is_call(node: ast.AST, name: str) -> bool:
    """Tell whether a node calls a function or a method of a name."""
    if not isinstance(node, ast.Call):
        return False
    its = node.func
    return (isinstance(its, ast.Name) and its.id == name) or (
        isinstance(its, ast.Attribute) and its.attr == name
    )
