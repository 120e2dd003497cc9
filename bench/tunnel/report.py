#!/usr/bin/env python3
"""report.py RESULT.json: medians of one run, and Adit's ratio to each peer, round by round."""
import json
import statistics
import sys

# test, figure, title, format
COLUMNS = [
    ("down1", "mb_s", "MB/s down 1", ".0f"), ("up1", "mb_s", "up 1", ".0f"),
    ("down16", "mb_s", "down 16", ".0f"), ("up16", "mb_s", "up 16", ".0f"),
    ("down1", "cpu_s_gb", "CPU s/GB down 1", ".2f"), ("up1", "cpu_s_gb", "up 1", ".2f"),
    ("down16", "cpu_s_gb", "down 16", ".2f"), ("up16", "cpu_s_gb", "up 16", ".2f"),
    ("short", "per_s", "short/s", ".0f"), ("short", "cpu_us", "CPU us each", ".0f"),
    ("short", "p99_us", "p99 us", ".0f"),
    ("ping", "p50_us", "ping p50 us", ".1f"), ("ping", "p99_us", "p99", ".0f"),
    ("beside", "p50_us", "beside bulk p50", ".0f"), ("beside", "p99_us", "p99", ".0f"),
    ("beside", "mb_s", "bulk MB/s meanwhile", ".0f"),
    ("stalled", "p99_us", "p99 us of 500 beside 50 stalled", ".0f"), ("stalled", "p99_alone_us", "without them", ".0f"),
    ("stalled", "p99_ratio", "p99 with / without", ".2f"),
    ("memory", "rest", "at rest MB", "MB"), ("memory", "rest_private", "private", "MB"),
    ("memory", "server_rest", "server", "MB"), ("memory", "server_private", "private", "MB"),
    ("memory", "each_1000", "bytes a stream, 1,000", ".0f"), ("memory", "each_5000", "5,000", ".0f"),
    ("memory", "after", "MB after", "MB"), ("recover", "ms", "recovery ms", ".0f"),
]


def values(document, peer, test, figure):
    return [row.get(figure) if row else None for row in document["results"][peer].get(test, [])]


def middle(numbers):
    numbers = [n for n in numbers if n is not None]
    return statistics.median(numbers) if numbers else None


def shown(number, form):
    if number is None:
        return "-"
    return f"{number / 1e6:.1f}" if form == "MB" else format(number, form)


def ratio(document, ours, peer, test, figure):
    pairs = zip(values(document, ours, test, figure), values(document, peer, test, figure))
    return middle([a / b for a, b in pairs if a is not None and b])


def tables(document):
    peers = list(document["results"])
    ours = next((p for p in peers if p.startswith("adit")), peers[0])
    used = [c for c in COLUMNS if any(document["results"][p].get(c[0]) for p in peers)]
    lines = [f"{document['when']}, {document['rounds']} rounds of {document['seconds']} s, "
             f"{document['cores']} cores; medians", ""]
    lines += [f"- {name}: {row['version']} ({row['cipher']})" for name, row in document["peers"].items()]
    for title, cell in (
            ("figure", lambda p, c: shown(middle(values(document, p, c[0], c[1])), c[3])),
            (f"{ours} / peer", lambda p, c: shown(ratio(document, ours, p, c[0], c[1]), ".2f"))):
        lines += ["", f"| {title} | " + " | ".join(peers) + " |", "|---" * (len(peers) + 1) + "|"]
        lines += [f"| {c[2]} | " + " | ".join(cell(p, c) for p in peers) + " |" for c in used]
    failed = [f"{p} {t}: {row['failed']}" for p in peers for t, rows in document["results"][p].items()
              for row in rows if row and row.get("failed")]
    strangers = [row["strangers"] for p in peers for rows in document["results"][p].values()
                 for row in rows if row and "strangers" in row]
    if strangers:
        lines += ["", f"Cores used by strangers meanwhile, median: {statistics.median(strangers):.2f}"]
    return "\n".join(lines + failed)


if __name__ == "__main__":
    print(tables(json.load(open(sys.argv[1]))))
