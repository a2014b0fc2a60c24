"""What makes a chat template repeatable: no date of today."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import date

_TODAY = "strftime_now"
_DATE = date(2024, 7, 26)
"""What Llama 3.2's template falls back to; for templates that have no date of their own."""


def undated(template: str) -> Iterator[str]:
    """The template without today's date, which would make every day's prompts others: at first
    with its own default date, then with a date that never changes, for one that has no default.

    `strftime_now` is the library's function for templates. It is a name like any other in Jinja, so
    a statement in front of the template can take it away or give it another meaning.
    """
    if _TODAY not in template:
        yield template
        return
    yield f"{{% set {_TODAY} = no_such_name %}}\n{template}"
    formats = re.findall(_TODAY + r"\(\s*(['\"])(.*?)\1", template)
    dates = {form: _DATE.strftime(form) for _, form in formats}
    default = _DATE.strftime("%d %b %Y")
    yield (
        f"{{% macro {_TODAY}(form) %}}"
        f"{{{{ {json.dumps(dates)}.get(form, {json.dumps(default)}) }}}}"
        f"{{% endmacro %}}\n{template}"
    )
