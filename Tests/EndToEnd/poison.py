#!/usr/bin/env python3
"""Poison among good traffic: good verdicts stay as they are, each bad record is once in the dead letters, memory stays flat."""
import collections
import json

from support import Embedded, check_verdicts, is_drained, lines, main, objects, recorded_bytes, validator_of, wait_for
from traffic import CODES, orders, poison


def write(path, good, kinds):
    """Good orders with so many of each kind dealt in evenly; answers offset -> kind of the bad ones."""
    bad = []
    for kind, count in kinds.items():
        bad += [(kind, n) for n in range(count)]
    # Every kind everywhere: sorted by place in its own kind, then dealt out evenly.
    bad.sort(key=lambda b: (b[1] / kinds[b[0]], b[0]))
    step = max(1, len(good) // max(1, len(bad)))
    placed, offset, waiting = {}, 0, iter(bad)
    with open(path, "wb") as file:
        for n, line in enumerate(good):
            if n % step == 0 and (kind := next(waiting, None)):
                file.write(poison(*kind) + b"\n")
                placed[offset] = kind
                offset += 1
            file.write(line + b"\n")
            offset += 1
        for kind in waiting:
            file.write(poison(*kind) + b"\n")
            placed[offset] = kind
            offset += 1
    return placed


def verdicts(path):
    """By event id, without what the offset gives."""
    found = collections.defaultdict(list)
    for v in objects(path):
        del v["verdict_id"], v["event"]["offset"]
        found[v["event"]["id"]].append(json.dumps(v, sort_keys=False))
    return found


def long_verdicts(t):
    """Texts that many rules quote: the verdicts stay short enough for a broker, say what is missing and fit the schema."""
    folder = t.topology("long", replacing=[("      id: string\n", "      id: { type: string, max_length: 65535 }\n")])
    (folder / "rules" / "first.weir").write_text("".join(
        f'rule quotes_{n} "Quotes" {{ owner "test" severity low on order when id != "other" then review because "{{id}} {{id}}" }}\n'
        for n in range(400)))
    source = t.folder / "long.jsonl"
    with open(source, "w") as file:
        # The second is not escaped where it comes in, and takes six bytes where it is quoted.
        for n, letter in enumerate(("x", "\x7f", "é")):
            event = {"id": letter * (60_000 // len(letter.encode())), "ts": 1_767_600_000_000 + n, "account": f"a{n}", "amount": "1.00"}
            file.write(json.dumps(event, ensure_ascii=False) + "\n")
    output = t.folder / "long.verdicts"
    t.run("replay", "--topology", folder, "--input", source, "--output", output)
    validator = validator_of("verdict")
    found = list(lines(output))
    t.equal(len(found), 3, "each event has its verdict")
    for line in found:
        body = json.loads(line)
        for error in validator.iter_errors(body):
            t.check(False, "a truncated verdict fits the schema", f"{error.json_path}: {error.message[:200]}")
        if len(line) > 700_000 or len(body["reasons"]) + body["truncated"].get("left_out", 0) != 400 or "event_id" not in body["truncated"]:
            t.check(False, "a long verdict is cut and says so", f"{len(line)} bytes, {body['truncated']}")
    t.ok(f"verdicts with 400 long reasons have {sorted(map(len, found))} bytes and fit the schema")


def fast_clocks(t, topology, good, before):
    """One order in a thousand comes from a device whose clock is 50 minutes fast: it makes nobody else's order late."""
    source, output = t.folder / "fast.jsonl", t.folder / "fast.verdicts"
    count = 0
    with open(source, "wb") as file:
        for n, line in enumerate(good):
            file.write(line + b"\n")
            if n % 1000 == 500:
                fast = json.loads(line) | {"id": f"fast{n}", "account": f"fast{n % 3}"}
                file.write(json.dumps(fast | {"ts": fast["ts"] + 50 * 60_000}).encode() + b"\n")
                count += 1
    done = t.run("replay", "--topology", topology, "--input", source, "--output", output, "--threads", 2, "--json")
    summary = json.loads(done.out)
    t.equal((summary["verdicts"], summary["dead_letters"], summary["late"]), (len(good) + count, 0, 0),
            f"{count} orders with a clock that is 50 minutes fast make none late")
    after = verdicts(output)
    t.check(all(after.get(k) == v for k, v in before.items()), "nor do they change another's verdict")


def disordered(t, topology, good, kinds):
    """Good orders out of order, some of them late: where epochs end decides about those, and poison must not move it."""
    records = list(good)
    for n in range(len(records) - 2000, 1000, -25):
        records.insert(n + 1000 + n % 200, records.pop(n))
    found = {}
    for name, bad in (("in order of nothing", {}), ("the same with poison", kinds)):
        source, output = t.folder / "disordered.jsonl", t.folder / "disordered.verdicts"
        placed = write(source, records, bad)
        done = t.run("replay", "--topology", topology, "--input", source, "--output", output, "--threads", 2, "--json")
        summary = json.loads(done.out)
        t.equal(summary["dead_letters"], len(placed), f"{name}: each bad record is a dead letter")
        found[name] = summary["late"], verdicts(output)
    (late, before), (later, after) = found.values()
    t.check(late > 100, f"{late} orders are late")
    t.equal(later, late, "with poison among them as many")
    different = [k for k in before.keys() | after.keys() if before.get(k) != after.get(k)]
    t.check(not different, "and no good verdict of them changes", [(before.get(k), after.get(k)) for k in different[:2]])


def test(t):
    long_verdicts(t)
    good = list(orders(60_000, seed=5))
    topology = t.topology("watched", replacing=[("subject: account", "subject: account\n    emit: all")])
    clean = t.folder / "clean.jsonl"
    write(clean, good, {})
    kinds = {kind: 1000 for kind in CODES if kind != "tombstone"}
    if not t.is_long:
        kinds |= {"huge": 20}
    dirty = t.folder / "dirty.jsonl"
    placed = write(dirty, good, kinds)

    outputs = {}
    peaks = {}
    for name, source in (("clean", clean), ("dirty", dirty)):
        outputs[name] = t.folder / f"{name}.verdicts", t.folder / f"{name}.dead"
        done, peaks[name] = t.run_measured(
            "replay", "--topology", topology, "--input", source, "--output", outputs[name][0], "--dead-letters", outputs[name][1],
            "--threads", 2, "--json")
        summary = json.loads(done.out)
        t.equal((summary["verdicts"], summary["dead_letters"], summary["silent"], summary["late"]),
                (len(good), 0 if name == "clean" else len(placed), 0, 0), f"{name}: a verdict about every good order, the rest dead letters")
    before, after = verdicts(outputs["clean"][0]), verdicts(outputs["dirty"][0])
    t.equal(len(before), len(good), "each good order has one verdict")
    different = [k for k in before if before[k] != after.get(k)]
    t.check(not different and len(after) == len(before), "good verdicts are the same to the byte but for offset and id",
            [(before[k], after.get(k)) for k in different[:2]])
    fast_clocks(t, topology, good, before)
    disordered(t, topology, good, kinds)
    flagged = sum('"reasons": []' not in v[0] for v in before.values())
    t.check(flagged > 100, f"{flagged} of them give reasons")

    letters = objects(outputs["dirty"][1])
    t.equal(sorted(l["offset"] for l in letters), sorted(placed), f"each of {len(placed)} bad records is once in the dead letters")
    wrong = [(placed[l["offset"]], l["code"]) for l in letters if l["code"] != CODES[placed[l["offset"]][0]]]
    t.check(not wrong, f"each with the code of its kind: {', '.join(f'{k} {CODES[k]}' for k in kinds)}", wrong[:5])
    for l in letters:
        wanted = poison(*placed[l["offset"]])
        kept = recorded_bytes(l)
        if l.get("record_truncated"):
            if not wanted.startswith(kept) or not kept or l["record_bytes"] != len(wanted):
                t.equal(l["record_bytes"], len(wanted), f"a cut {placed[l['offset']][0]} keeps its beginning and its length")
        elif kept != wanted:
            t.equal(kept, wanted, f"a {placed[l['offset']][0]} keeps its bytes")
        if not l["message"] or not 0 <= l["byte_offset"] <= len(wanted):
            t.check(False, "every dead letter has a message and a place", l)
    t.ok("each keeps its bytes, the long ones their beginning and length, and says where and why")
    # An epoch may hold 4 MiB of records as they came and writes as much of dead letters; the clean run needs far less.
    limit = peaks["clean"] * 1.1 + (12 << 20)
    t.note(f"peak memory: clean {peaks['clean'] >> 20} MiB, with poison {peaks['dirty'] >> 20} MiB")
    t.check(peaks["dirty"] <= limit, "memory is flat: within 10 % and what an epoch may hold of the clean run",
            f"clean {peaks['clean'] >> 20} MiB, with poison {peaks['dirty'] >> 20} MiB")

    # The same in a row: a flood of records over the limit of 1 MiB must not be held all at once.
    flood = t.folder / "flood.jsonl"
    with open(flood, "wb") as file:
        for n, line in enumerate(good):
            file.write(line + b"\n")
            if n == 30_000:
                for _ in range(400):
                    file.write(b'{"id":"' + b"f" * (1_100_000) + b'"}\n')
    done, peak = t.run_measured("replay", "--topology", topology, "--input", flood, "--output", t.folder / "flood.verdicts", "--threads", 2, "--json")
    t.equal(json.loads(done.out)["dead_letters"], 400, "a flood of 400 records over the limit: all refused")
    t.note(f"peak memory with the flood: {peak >> 20} MiB")
    t.check(peak <= limit, "and memory stays flat", f"clean {peaks['clean'] >> 20} MiB, with the flood {peak >> 20} MiB")

    # Awkward but good: these must not be refused.
    fine = t.folder / "fine.jsonl"
    longest = "s" * 65_535
    roomy = t.topology("roomy", replacing=[
        ("subject: account", "subject: account\n    emit: all"), ("entity: account", "entity: account, max_length: 65535")])
    start = json.loads(good[0])["ts"]
    records = [
        {"id": "e1", "ts": start, "account": "ünï \U0001f4a5 \"q\" \\ \t", "amount": 1},
        {"id": "e2", "ts": start, "account": longest, "amount": "12.34"},
        {"amount": 5e0, "note": {"deep": [[[{"x": [None, True, 1e308]}]]]}, "account": "last", "ts": start, "id": "e3"},
    ]
    # In places that no field reads, whatever has a frame.
    depth = 100_000
    odd = {
        "o1": '"note":' + "[" * depth + "]" * depth, "o2": '"note":"\\ud800 \\x \x01"', "o3": '"note":NaN,"note":{"note":[-Infinity,]}',
        "o4": f'"note":{"9" * depth}', "o5": ",".join(f'"k{n}":0' for n in range(depth // 10)),
    }
    awkward = [json.dumps(r).encode() for r in records]
    for name, keys in odd.items():
        records.append({"id": name, "ts": start, "account": name, "amount": 1})
        awkward.append(f'{{{keys},{json.dumps(records[-1])[1:]}'.encode())
    # In an optional field: that field is missing, and the verdict says so.
    damaged = {
        "d1": ("1" * 10_000, "number_out_of_range"), "d2": ("1e999", "number_out_of_range"), "d3": ("NaN", "wrong_type"),
        "d4": ("12.999", "too_many_decimals"), "d5": ('"\\ud800"', "invalid_escape"), "d6": ("[]", "wrong_type"),
        "d7": ('1,"amount":2', "duplicate_field"), "d8": ('"\xc3("', "wrong_type"),
    }
    for name, (amount, code) in damaged.items():
        records.append({"id": name, "ts": start, "account": name})
        awkward.append(json.dumps(records[-1]).encode()[:-1] + f',"amount":{amount}}}'.encode("latin-1"))
    fine.write_bytes(b"\r\n".join(awkward))
    out = t.folder / "fine.verdicts"
    t.run("replay", "--topology", roomy, "--input", fine, "--output", out)
    t.equal([(v["event"]["id"], v["subject"]["id"]) for v in objects(out)], [(r["id"], r["account"]) for r in records],
            "escapes, a subject of 65,535 bytes, CR LF, a last line without an end, odd values that nobody reads and damaged ones are no poison")
    named = {v["event"]["id"]: v["damaged"] for v in objects(out) if "damaged" in v}
    t.equal(named, {name: [{"field": "amount", "code": code}] for name, (_, code) in damaged.items()},
            "verdicts name the damaged field, and only those on damaged records")
    # The longest subject also fits key and headers of a log's record.
    log = Embedded(t.folder / "fine.db")
    t.run("simulate", "--scenario", "honest", "--events", 10, *log.kind())
    log.produce([("orders", 0, None, r, None) for r in awkward])
    worker = t.start("run", "--topology", roomy, *log.kind())
    wait_for("run judges the longest subject", lambda: is_drained(log, ["orders"]), process=worker)
    t.equal(worker.terminate(), 143, "SIGTERM ends run with 143")
    t.check(longest.encode() in [v.key for v in log.read("weir.verdicts")], "the longest subject goes through a log")
    check_verdicts(t, log.read("weir.verdicts"), "quickstart", "weir/quickstart")
    empty = t.folder / "empty.jsonl"
    empty.write_bytes(b"")
    t.run("replay", "--topology", topology, "--input", empty, "--output", out)
    t.equal(lines(out), [], "an empty file is no error")


main(test)
