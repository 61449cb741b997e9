"""The form in which texts are searched: the same on both databases, whatever their locale."""

import re
import unicodedata
from typing import Final

_ACCENTS: Final = re.compile("[\u0300-\u036f]+")


def folded(text: str) -> str:
    """A text without case, accents (`é` is `e`) and widths (full-width letters are plain ones), in any script.

    Marks that make another letter, as in Japanese or Hindi, stay. A piece of a text is found in it when its folded
    form is a piece of the text's.
    """
    if text.isascii():
        return text.lower()
    apart = unicodedata.normalize("NFKD", text.casefold())
    return unicodedata.normalize("NFC", _ACCENTS.sub("", apart).casefold())
