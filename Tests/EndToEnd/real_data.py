#!/usr/bin/env python3
"""The published data sets as they are: every record read, each rule fires exactly as often as a naive program counted; and the same
when they are written as spreadsheets and other exports write them."""
import collections
import csv
import decimal
import gzip
import io
import json
import shutil
import subprocess

from support import ROOT, SHARED, Skipped, TOPOLOGIES, main, objects

SETS = [
    ("online-retail", "online_retail/online_retail.csv.gz", 541_909),
    ("ad-clicks", "talkingdata_sample/train_sample.csv.gz", 100_000),
]


# Tables without a header, in orders and forms of their own: 25 lines each from file to rule.
TABLES = {
    "graph/bitcoin_otc/otc_network.csv.gz": ("""
topology: otc
events:
  vote:
    topic: votes
    csv: { header: [source, target, rating, time] }
    time: time
    subject: target
    fields:
      time: { type: timestamp, format: s }
      target: { type: string, entity: account }
      source: { type: string, entity: rater }
      rating: { type: int, required: true, min: -10, max: 10 }
""", """
rule distrusted "The worst rating" { on vote when rating == -10 then review, score +40 because "{rating}" }
feature ratings = count() of vote by account over 1h
rule rated_much "Ten ratings within an hour" { on vote when ratings >= 10 then review, score +40 because "{ratings}" }
"""),
    "graph/amazon_rating_time/amazon_user_art_rate_time.edgelist.gz": ("""
topology: amazon
# By the day, back to 1998, and in no order of time.
time: { earliest: 1998-01-01 }
replay: { sort: true }
events:
  vote:
    topic: votes
    csv: { comment: "%", header: [user, item, rating, time] }
    time: time
    subject: user
    fields:
      time: { type: timestamp, format: s }
      user: { type: string, entity: account }
      item: { type: string, entity: item }
      rating: { type: int, required: true, min: 1, max: 5 }
""", """
rule worst "One star" { on vote when rating == 1 then review, score +40 because "{rating}" }
"""),
    "graph/yelpchi/metadata.gz": ("""
topology: yelp
events:
  review:
    topic: reviews
    csv: { delimiter: blanks, header: [user, item, "-", label, "-"] }
    # The table has no times: the rows follow each other.
    time: { from: 2012-01-01, every: 1s }
    subject: user
    fields:
      user: { type: string, entity: account }
      item: { type: string, entity: item, required: true }
      label: { type: int, required: true, min: -1, max: 1 }
""", """
rule fake "Filtered by its publisher" { on review when label == -1 then review, score +40 because "{label}" }
"""),
    "ecommerce/handbook/transactions.csv.gz": ("""
topology: handbook
events:
  payment:
    topic: payments
    format: csv
    time: at
    id: id
    subject: customer
    fields:
      id: { type: string, path: TRANSACTION_ID }
      at: { type: timestamp, format: iso8601, path: TX_DATETIME }
      customer: { type: string, entity: account, path: CUSTOMER_ID }
      # Some have the noise of floating point: 19.990000000000002.
      amount: { type: money, decimals: round, path: TX_AMOUNT, required: true }
""", """
rule large "More than 220.00" { on payment when amount > 22000 then review, score +40 because "{amount}" }
"""),
}


def counted(path):
    """The records of a table and how often its rules must fire, counted without Weir."""
    rows = [r.split(",") if "," in r else r.split() for r in gzip.open(path, "rt") if not r.startswith("%")]
    if "otc" in path.name:
        recent, many = collections.defaultdict(collections.deque), 0
        for _, target, _, time in rows:
            # Weir's clock counts in milliseconds; a window of an hour holds what is less than an hour old.
            now, own = int(float(time) * 1000), recent[target]
            own.append(now)
            while own[0] <= now - 3_600_000:
                own.popleft()
            many += len(own) >= 10
        return len(rows), {"distrusted": sum(r[2] == "-10" for r in rows), "rated_much": many}
    if "amazon" in path.name:
        return len(rows), {"worst": sum(r[2] == "1" for r in rows)}
    if "transactions" in path.name:
        cents = [decimal.Decimal(r[4]).scaleb(2).to_integral_value(decimal.ROUND_HALF_EVEN) for r in rows[1:]]
        return len(cents), {"large": sum(c > 22000 for c in cents)}
    return len(rows), {"fake": sum(r[3] == "-1" for r in rows)}


def made(t, name, topology, rules):
    folder = t.folder / name
    (folder / "rules").mkdir(parents=True)
    (folder / "topology.yaml").write_text(topology.lstrip())
    (folder / "rules" / "all.weir").write_text(rules.lstrip())
    return folder


def hits_of(t, topology, source, name, code=0):
    verdicts = t.folder / f"{name}.jsonl"
    done = t.run("replay", "--topology", topology, "--input", source, "--output", verdicts, "--json", code=code)
    hits = collections.Counter()
    for v in objects(verdicts):
        hits.update(r["rule"] for r in v["reasons"] + v.get("shadow", []))
    return json.loads(done.out), hits, verdicts


def tables(t):
    """From the file as it was published, with nothing in front."""
    for path, (topology, rules) in TABLES.items():
        source = SHARED / "data" / path
        if not source.exists():
            continue
        name = source.parent.name
        t.check(len(topology.strip().splitlines()) <= 25, f"{name}: its topology has 25 lines at most")
        records, wanted = counted(source)
        summary, hits, _ = hits_of(t, made(t, name, topology, rules), source, name)
        t.equal((summary["events"], summary["dead_letters"], summary["late"]), (records, 0, 0), f"{name}: all {records} rows are events")
        t.equal(dict(hits), wanted, f"{name}: {sum(wanted.values())} hits, each as counted by hand")
    darpa = SHARED / "data" / "graph" / "darpa" / "darpa_original.csv.zst"
    if darpa.exists():
        topology = made(t, "darpa", """
topology: darpa
time: { earliest: 1998-01-01 }
events:
  edge:
    topic: edges
    csv: { header: [source, target, minute, attack] }
    time: minute
    subject: source
    fields:
      minute: { type: timestamp, format: "%m/%d/%Y-%H:%M" }
      source: { type: string, entity: ip }
""", "")
        # Its minutes are written in a way of their own, ten of them on the 32nd of July.
        summary, _, _ = hits_of(t, topology, darpa, "darpa")
        t.equal((summary["records"], summary["dead_letters"]), (4_554_344, 10), "darpa: every row of the .zst file is read")


def exports(t, source, wanted, plain):
    """Invoice lines as spreadsheets and other systems export them: other bytes, the same verdicts."""
    rows = list(csv.reader(io.StringIO(gzip.decompress(source.read_bytes()).decode(), newline="")))
    text = (TOPOLOGIES / "online-retail" / "topology.yaml").read_text()
    t.check("    format: csv\n" in text, "online-retail: its topology has the line that is replaced here")

    def number(column, decimal, thousands):
        whole, _, rest = column.partition(".")
        digits = f"{int(whole):,}".replace(",", thousands) if int(whole) else whole
        return digits + (decimal + rest if rest else "")

    def local(row, decimal, thousands):
        return row[:3] + [number(row[3], decimal, thousands), row[4], number(row[5], decimal, thousands)] + row[6:]

    forms = {
        "latin-1": ("iso-8859-1", '{ encoding: iso-8859-1 }', {}, rows),
        "european": ("windows-1252", '{ delimiter: ";", decimal: ",", thousands: ".", encoding: windows-1252 }', {"delimiter": ";"},
                     rows[:1] + [local(r, ",", ".") for r in rows[1:]]),
        "headless": ("utf-8", "{ delimiter: tab, comment: \"#\", header: [" + ", ".join(rows[0]) + "] }", {"delimiter": "\t"}, rows[1:]),
        "american": ("iso-8859-1", '{ encoding: iso-8859-1 }', {},
                     rows[:1] + [r[:4] + [f"{int(r[4][5:7])}/{int(r[4][8:10])}/{r[4][:4]} {int(r[4][11:13])}:{r[4][14:16]}"] + r[5:] for r in rows[1:]]),
        "padded": ("utf-8", "{ trim: true, quote: \"'\" }", {"quotechar": "'", "quoting": csv.QUOTE_ALL}, rows),
    }
    for form, (encoding, keys, dialect, content) in forms.items():
        out = io.StringIO(newline="")
        csv.writer(out, **dialect).writerows(content)
        exported = out.getvalue()
        if form == "padded":
            exported = exported.replace("','", "' ,  '")
        if form == "headless":
            exported = "# made by hand, \"open\r\n" + exported
        path = t.folder / f"{form}.csv"
        path.write_bytes(exported.encode(encoding))
        if shutil.which("zstd"):
            subprocess.run(["zstd", "-q", "--rm", "-f", "-T0", path], check=True)
            path = path.with_name(path.name + ".zst")
        folder = t.folder / f"retail-{form}"
        shutil.copytree(TOPOLOGIES / "online-retail", folder)
        declared = text.replace("    format: csv\n", f"    csv: {keys}\n")
        if form == "american":
            declared = declared.replace("format: rfc3339", 'format: "%m/%d/%Y %H:%M"')
        (folder / "topology.yaml").write_text(declared)
        summary, hits, verdicts = hits_of(t, folder, path, f"retail-{form}")
        t.equal((summary["events"], summary["dead_letters"], summary["late"]), (len(rows) - 1, 0, 0), f"{form}: all {len(rows) - 1} records are events")
        t.equal({r: hits[r] for r in wanted | hits}, wanted, f"{form} ({path.suffix[1:]}): the hits of the published file")

        def said(path):
            return [[v["event"]["time"], v["subject"], v["decision"], v["score"], v["reasons"]] for v in objects(path)]

        t.check(said(verdicts) == said(plain), f"{form}: and its reasons, word for word")
        path.unlink()


def test(t):
    present = [s for s in SETS if (SHARED / "data" / "ecommerce" / s[1]).exists()]
    if not present:
        raise Skipped("no ../shared/data/ecommerce")
    tables(t)
    for name, path, records in present:
        verdicts = t.folder / f"{name}.jsonl"
        done = t.run("replay", "--topology", TOPOLOGIES / name, "--input", SHARED / "data" / "ecommerce" / path, "--output", verdicts,
                     "--json")
        summary = json.loads(done.out)
        t.equal((summary["events"], summary["dead_letters"], summary["late"]), (records, 0, 0), f"{name}: all {records} records are events")
        hits = collections.Counter()
        for v in objects(verdicts):
            hits.update(r["rule"] for r in v["reasons"] + v.get("shadow", []))
        with open(ROOT / "Tests" / "PipelineTests" / "Fixtures" / f"{name}-expected.csv", newline="") as file:
            wanted = {r["rule"]: int(r["hits"]) for r in csv.DictReader(file)}
        t.equal({r: hits[r] for r in wanted | hits}, wanted, f"{name}: {sum(wanted.values())} hits of {len(wanted)} rules, each as counted by hand")
        t.note(f"{name}: {summary['events_per_second']} events/s")
        # Without --json the summary is for people and says what was found.
        text = t.run("replay", "--topology", TOPOLOGIES / name, "--input", SHARED / "data" / "ecommerce" / path).out
        missing = [r for r in wanted if r not in text]
        t.check(not missing, f"{name}: the summary names every rule with its count", text)
        if name == "online-retail":
            exports(t, SHARED / "data" / "ecommerce" / path, wanted, verdicts)


main(test)
