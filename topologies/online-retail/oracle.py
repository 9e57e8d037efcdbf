#!/usr/bin/env python3
"""The rules of this folder as a naive program: how often each one fires on a file.

  oracle.py FILE.csv[.gz]            rule,hits as CSV
  oracle.py FILE.csv[.gz] --lines    record,rule as CSV; records count from 1

Independent of Weir on purpose. A window holds the earlier lines of the file and the line
itself, times in (t - w, t]; a key with an empty part is neither counted nor read.
"""
import collections
import csv
import datetime
import decimal
import gzip
import sys

DAY = 86_400
FEES = {"AMAZONFEE", "BANK CHARGES", "CRUK", "D", "DOT", "M", "POST"}
RULES = [
    "cancellation_large", "cancellation_frequent", "cancellation_value", "cancellation_share", "bulk_return",
    "bulk_order", "bulk_unusual", "bulk_day", "repeated_line", "price_not_positive", "bad_debt", "stock_write_off",
]


class Window:
    """Values of the last `days` days per key, kept as a list that is cut on the left."""

    def __init__(self, days):
        self.seconds = days * DAY
        self.held = collections.defaultdict(collections.deque)

    def values(self, key, t):
        if "" in key:
            return None
        held = self.held[key]
        while held and held[0][0] <= t - self.seconds:
            held.popleft()
        return [v for _, v in held]

    def add(self, key, t, value):
        if "" not in key:
            self.held[key].append((t, value))


def fired(path):
    cancelled, lines, worth = Window(30), Window(30), Window(30)
    sales, bought, pieces, same = Window(30), Window(7), Window(1), Window(1)
    opener = gzip.open if path.endswith(".gz") else open
    with opener(path, "rt", encoding="utf-8", newline="") as f:
        for r in csv.DictReader(f):
            t = int(datetime.datetime.fromisoformat(r["InvoiceDate"].replace("Z", "+00:00")).timestamp())
            invoice, item, account = r["InvoiceNo"], r["StockCode"], r["CustomerID"]
            q = int(r["Quantity"])
            price = int(decimal.Decimal(r["UnitPrice"]) * 1000)
            c = invoice.startswith("C")
            hits = []
            # Read what excludes the line itself first, then add the line.
            earlier = sales.values((item,), t)
            if q > 0:
                sales.add((item,), t, q)
                pieces.add((account,), t, q)
            if c:
                cancelled.add((account,), t, 1)
                worth.add((account,), t, q * price)
            lines.add((account,), t, 1)
            bought.add((account, item), t, q)
            same.add((invoice, item, r["Quantity"]), t, 1)

            if c and q * price <= -500_000:
                hits.append("cancellation_large")
            if c and account:
                n, total, all_lines = cancelled.values((account,), t), sum(worth.values((account,), t)), None
                if len(n) >= 20:
                    hits.append("cancellation_frequent")
                if total <= -2_000_000 and item not in FEES:
                    hits.append("cancellation_value")
                all_lines = lines.values((account,), t)
                if len(all_lines) >= 10 and len(n) * 2 >= len(all_lines):
                    hits.append("cancellation_share")
                if q <= -500 and max(bought.values((account, item), t)) + q >= 0:
                    hits.append("bulk_return")
            if q >= 2000:
                hits.append("bulk_order")
            if q >= 200 and len(earlier) >= 10 and float(q) >= 50.0 * (sum(earlier) / len(earlier)):
                hits.append("bulk_unusual")
            if q > 0 and account and sum(pieces.values((account,), t)) >= 10_000:
                hits.append("bulk_day")
            if len(same.values((invoice, item, r["Quantity"]), t)) >= 2:
                hits.append("repeated_line")
            if price <= 0:
                hits.append("price_not_positive")
            if invoice.startswith("A"):
                hits.append("bad_debt")
            if q <= -1000 and price == 0 and not c:
                hits.append("stock_write_off")
            yield hits


def main():
    if len(sys.argv) == 3 and sys.argv[2] == "--lines":
        print("record,rule")
        for n, hits in enumerate(fired(sys.argv[1]), 1):
            for rule in hits:
                print(f"{n},{rule}")
    elif len(sys.argv) == 2:
        counts = collections.Counter(rule for hits in fired(sys.argv[1]) for rule in hits)
        print("rule,hits")
        for rule in RULES:
            print(f"{rule},{counts[rule]}")
    else:
        sys.exit(__doc__)


main()
