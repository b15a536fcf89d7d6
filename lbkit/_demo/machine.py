"""The outcome of a demo for machines: plain dicts, lists, numbers and text."""

from __future__ import annotations

from dataclasses import asdict

from lbkit._demo.frame import Report
from lbkit._demo.settings import PATIENCE_S, RETRY, Options
from lbkit._demo.story import Account


def as_json(options: Options, report: Report, code: int) -> dict[str, object]:
    """Return what `--json` prints. Times are in seconds since the traffic began, or as the names say."""
    scores = {score.client.lower().replace(" ", "_"): asdict(score) for score in report.scores}
    return {
        "exit": code,
        "interrupted": report.interrupted,
        "elapsed_s": round(report.elapsed_s, 3),
        "options": asdict(options),
        "settings": {
            "timeout_s": PATIENCE_S,
            "attempts": RETRY.attempts,
            "per_try_timeout_s": RETRY.per_try_timeout,
            "deadline_s": RETRY.deadline,
            "breaker": asdict(options.breaker()) | {"mode": options.breaker().mode.value},
        },
        "clients": scores,
        "faults": [_fault(account) for account in report.accounts],
        "failures": report.failures,
        "notes": list(report.notes),
        "summary": [*report.verdict().splitlines(), *report.words],
    }


def _fault(account: Account) -> dict[str, object]:
    deed = account.deed
    values = {
        "replica": deed.replica,
        "kind": deed.kind.value,
        "began_s": deed.began_s,
        "ended_s": deed.ended_s,
        "out_after_s": account.out_after_s,
        "back_after_s": account.back_after_s,
        "retries": account.retries,
        "share_before": account.share_before,
        "share_during": account.share_during,
    }
    return {name: round(value, 3) if isinstance(value, float) else value for name, value in values.items()}
