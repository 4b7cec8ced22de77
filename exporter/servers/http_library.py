"""requests, without the guesser of character sets that it would import: 3 MB of memory.

Only `Response.text` and `Response.json()` ask it, and what we read is UTF-8 or no text at all.
requests itself can do without: it comes like that with pip.
"""

from __future__ import annotations

import sys
import warnings

__all__ = ["requests"]

_GUESSERS = [name for name in ("chardet", "charset_normalizer") if name not in sys.modules]

for _name in _GUESSERS:
    sys.modules[_name] = None  # type: ignore[assignment]  # the language's way to say: not here
try:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there is no guesser
        import requests
finally:
    for _name in _GUESSERS:
        del sys.modules[_name]
