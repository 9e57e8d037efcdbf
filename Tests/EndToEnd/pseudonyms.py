#!/usr/bin/env python3
"""Identifiers leave as HMAC-SHA-256 under the topology's key, as topologies/README.md says; a key that is missing or short stops everything."""
import hashlib
import hmac
import json
import os
import re

from support import ROOT, fail, main, objects

TOPOLOGY = """\
topology: pseudonyms
identifiers: { key_file: keys/secret.key }
events:
  order:
    topic: orders
    time: ts
    id: id
    subject: account
    emit: all
    fields:
      id: string
      ts: { type: timestamp, format: ms }
      account: { type: string, entity: account, pseudonymise: true }
      coupons: { type: list<string>, pseudonymise: true }
      country: { type: string, required: true }
"""
RULE = """\
rule twice "An account orders twice" {
  on order
  let orders = count() of order by account over 1h
  when orders >= 2
  then review
  because "{account} with {coupons}"
}
"""
START = 1_772_618_400_000
KEY = b"3f9c2d1b7a8e4f60a1b2c3d4e5f60718"
# The last one is written with an escape, and hashed as what it means.
ACCOUNTS = ["ada", "ada", "Zoë", "a" * 200, "tab\there"]


def pseudonym(key, identifier):
    return hmac.new(key, identifier.encode(), hashlib.sha256).hexdigest()


def test(t):
    folder = t.folder / "topology"
    (folder / "keys").mkdir(parents=True)
    (folder / "rules").mkdir()
    (folder / "topology.yaml").write_text(TOPOLOGY)
    (folder / "rules" / "twice.weir").write_text(RULE)
    key = folder / "keys" / "secret.key"
    # What ends the line in the file is no part of the key.
    key.write_bytes(KEY + b"\n")
    source, verdicts, letters = t.folder / "orders.jsonl", t.folder / "verdicts.jsonl", t.folder / "letters.jsonl"
    events = [
        {"id": f"o{n}", "ts": START + 1000 * n, "account": account, "coupons": ["VIP", account], "country": "NO"}
        for n, account in enumerate(ACCOUNTS)
    ]
    events.append({"id": "bad", "ts": START + 60_000, "account": "somebody"})
    source.write_text("".join(json.dumps(e) + "\n" for e in events))

    digests = set()
    # The folder is named from here, from the root, and from its parent: the key is found from each.
    for named in (os.path.relpath(folder, ROOT), folder, f"{folder.parent}/./topology/"):
        digests.add(json.loads(t.run("check", named, "--json").out.splitlines()[-1])["summary"]["topology_digest"])
        t.run("replay", "--topology", named, "--input", source, "--output", verdicts, "--dead-letters", letters)
        got = [v["subject"]["id"] for v in objects(verdicts)]
        t.equal(got, [pseudonym(KEY, a) for a in ACCOUNTS], f"{named}: every subject is the HMAC of its identifier")
    t.equal(len(digests), 1, "one key, one digest of the topology, however the folder is named")
    reason = objects(verdicts)[1]["reasons"][0]
    ada = pseudonym(KEY, "ada")
    t.equal(reason["text"], f"{ada} with {pseudonym(KEY, 'VIP')}, {ada}", "a reason names pseudonyms, in lists too")
    written = verdicts.read_text()
    t.check(not any(json.dumps(a)[1:-1] in written for a in ("Zoë", "a" * 200, "tab\there")), "no verdict holds a raw identifier")
    t.check("somebody" in letters.read_text(), "a dead letter holds the record as it came, identifiers included")

    key.write_bytes(b"another key altogether")
    other = json.loads(t.run("check", folder, "--json").out.splitlines()[-1])["summary"]["topology_digest"]
    t.check(other not in digests, "another key gives the topology another digest")
    key.write_bytes(b"fifteen bytes!!\n")
    cases = [("short", r"the key of the pseudonyms has fewer than 16 bytes: .*secret\.key")]
    for what, pattern in cases + [("missing", r"the key of the pseudonyms cannot be read: .*secret\.key: No such file")]:
        if what == "missing":
            key.unlink()
        for words in (["check", folder], ["replay", "--topology", folder, "--input", source],
                      ["run", "--topology", folder, "--log", t.folder / "none.db"]):
            result = t.run(*words, code=3)
            for wanted in (r"topology\.yaml:2:26: error: ", pattern, r"openssl rand -hex 32 > "):
                if not re.search(wanted, result.err):
                    fail(f"{what} key: weir {words[0]} does not say /{wanted}/: {result.err}")
            if result.out or "fifteen bytes" in result.err:
                fail(f"{what} key: weir {words[0]} shows too much: {result.out} {result.err}")
        t.ok(f"a {what} key: exit 3, with the place, the reason and how to make one")
    t.check(not (t.folder / "none.db").exists(), "and no log was made")


main(test)
