"""How long to wait before asking again."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime


def wait_before(
    attempt: int, *, after: float | None, first: float, longest: float, jitter: random.Random
) -> float:
    """Seconds before retry number `attempt` (from 0).

    They double from `first`, cut by a random part of up to a half so that requests that failed
    together do not come back together, and are never less than the server asked for.

    Args:
        attempt: retries made before.
        after: what the server asked for, in seconds (see `retry_after`).
        first: seconds before the first retry.
        longest: seconds; also caps what the server asks for.
        jitter: source of the random part.
    """
    backoff = first * 2.0 ** min(attempt, 30) * jitter.uniform(0.5, 1.0)
    return min(max(backoff, after or 0.0), longest)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that a server asks to wait, from Retry-After as seconds or as a date (RFC 9110,
    section 10.2.3), or from OpenAI's retry-after-ms; None if it does not, or not readably."""
    for name, unit in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        try:
            seconds = float(headers[name]) * unit
        except (KeyError, ValueError):
            continue
        return seconds if math.isfinite(seconds) and seconds >= 0 else None
    try:
        moment = parsedate_to_datetime(headers["retry-after"]).timestamp()
    except (KeyError, ValueError, TypeError, OverflowError, OSError):
        return None
    return max(0.0, moment - time.time())
