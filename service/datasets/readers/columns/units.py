"""Currencies and units that people write beside numbers."""

from __future__ import annotations

import unicodedata


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


DOLLARS = frozenset(("US$", "A$", "C$", "NZ$", "HK$", "S$", "R$", "CA$", "AU$"))
CODES = _words(
    "AED ARS AUD BGN BRL CAD CHF CLP CNY COP CZK DKK EGP EUR GBP HKD HUF IDR ILS INR ISK JPY KES KRW MAD MXN MYR NGN NOK NZD"
    " PEN PHP PKR PLN RON RSD RUB SAR SEK SGD THB TRY TWD UAH USD VND ZAR FR KR RS ZŁ FT LEI"
)
"""Codes of currencies, and common abbreviations of some."""

UNITS = _words(
    "% ‰ ° °c °f pp bps"
    " kg g mg µg t lb lbs oz st"
    " km m cm mm nm mi mile miles ft in yd km/h kmh mph m/s kn"
    " m² m2 qm sqm km² km2 sqft ft² ft2 ha acre acres m³ m3 l ml cl dl hl gal"
    " h hr hrs hour hours min mins minute minutes s sec secs second seconds ms day days week weeks month months year years yr"
    " yrs"
    " w kw mw kwh mwh wh v mv hz khz mhz ghz pa hpa kpa bar psi j kj kcal cal n nm hp ps rpm cc db mah"
    " b kb mb gb tb kib mib gib px pt dpi pcs stk"
)
"""In lower case."""


def is_currency(sign: str) -> bool:
    """Whether a sign denotes a currency."""
    if sign.isalpha():
        return sign.upper() in CODES
    return sign.upper() in DOLLARS or sign.upper().rstrip(".") in CODES or all(map(_is_symbol, sign))


def _is_symbol(character: str) -> bool:
    return unicodedata.category(character) == "Sc"
