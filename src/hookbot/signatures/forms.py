"""Forms, as far as they are a part of a signed text."""

from ..errors import BadSignature
from .request import SignedRequest


def payload_of(request: SignedRequest) -> str | bytes:
    """The field ``payload`` if the body is a form with no other, else the body. Raises `BadSignature` for more."""
    fields = request.form()
    names = [name for name, _ in fields]
    # The Content-Type is not signed: with another one, an ampersand in a string of signed JSON would begin a field.
    if "payload" in names and len(names) > 1:
        raise BadSignature("the body is a form with other fields besides 'payload'")
    return fields[0][1] if names == ["payload"] else request.body


def fields_of(request: SignedRequest) -> str:
    """Names and values of all fields, sorted and without duplicates; raises `BadSignature` if there are none."""
    fields = request.form()
    # Without any, the text would be signed by whoever has signed a URL that ends with the fields of a form.
    if not fields:
        raise BadSignature("the signature covers the fields of a form, and the body has none")
    return "".join(name + value for name, value in sorted(set(fields)))
