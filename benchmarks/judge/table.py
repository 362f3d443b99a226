"""Verdicts as rows of tables in Markdown."""

import math

# diagnostics whose power stands in the row of each fake
SHOWN = {
    "log_power_spectrum": "P(k)",
    "peaks": "peaks",
    "energy": "temperature",
    "overlap": "P(q)",
    "memorization": "copies",
}


def markdown(rows):
    """Lines of a table of dicts that share their keys."""
    rows = list(rows)
    head = list(rows[0])
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    return lines + [f"| {' | '.join(str(row[name]) for name in head)} |" for row in rows]


def fake_row(name, verdicts, units):
    """One fake: what fails and how surely, and else what would decide."""
    failed = [v for v in verdicts if v["verdict"] == "fail"]
    undecided = [v for v in verdicts if v["verdict"] == "open"]
    return {
        "fake": name,
        "verdict": "**fail**" if failed else "open" if undecided else "pass",
        "fails in": ", ".join(v["diagnostic"] for v in failed) or "-",
        "smallest p of a fail": _smallest(failed, "fail_p"),
        "smallest p of equality": _smallest(verdicts, "p_value"),
        "open": f"{len(undecided)} of {len(verdicts)}",
        "nearest decision": "" if failed else _would_decide(undecided, units),
        "would have seen": _power(verdicts),
    }


def power_rows(verdicts):
    """Every diagnostic on truth against truth: its tolerance, what it would have seen, what would decide."""
    for v in verdicts:
        yield {
            "diagnostic": v["diagnostic"],
            "verdict": v["verdict"],
            "of": v.get("tolerance_of") or "",
            "tolerance": _amount(v.get("tolerance"), v),
            "deviation": _amount(v.get("deviation"), v),
            "would have seen": _amount(v.get("detectable"), v),
            "units over the present ones that would decide": _factor(v.get("needed")),
            "p of equality": _p(v.get("p_value")),
        }


def _smallest(verdicts, key):
    known = [(v[key], v["diagnostic"]) for v in verdicts if v.get(key) is not None and math.isfinite(v[key])]
    return f"{_p(min(known)[0])} ({min(known)[1]})" if known else "-"


def _would_decide(verdicts, units):
    known = [(v["needed"], v["diagnostic"]) for v in verdicts if v.get("needed") and math.isfinite(v["needed"])]
    return f"{math.ceil(min(known)[0] * units)} units ({min(known)[1]})" if known else ""


def _power(verdicts):
    """The smallest deviations that would have been seen, in the diagnostics of SHOWN."""
    known = {v["diagnostic"]: v for v in verdicts if v.get("detectable") is not None}
    seen = {words: known[name] for name, words in SHOWN.items() if name in known}
    return ", ".join(f"{_amount(v['detectable'], v)} in {words}" for words, v in seen.items())


def _amount(x, verdict):
    if x is None or not math.isfinite(x):
        return "-"
    number = float(f"{100 * x if verdict.get('percent') else x:.2g}")
    return f"{number:g} %" if verdict.get("percent") else f"{number:g}"


def _p(p):
    return "-" if p is None else f"{p:.1g}"


def _factor(needed):
    return "-" if needed is None or not math.isfinite(needed) else f"{needed:.2g}"
