"""Variables of the environment that begin with ``HOOKBOT_``, and those among them that nothing reads."""

import re
from collections.abc import Collection, Iterator, Mapping

from ..errors import did_you_mean
from ..hub.secret_store import GITHUB_SECRET, KEY, OLD_GITHUB_SECRETS, OLD_KEYS

_PREFIX = "HOOKBOT_"
_SECRETS = (KEY, OLD_KEYS, GITHUB_SECRET, OLD_GITHUB_SECRETS)
OTHERS = frozenset(
    {
        *_SECRETS,
        *(f"{name}_FILE" for name in _SECRETS),
        *(
            "HOOKBOT_CONFIG",
            "HOOKBOT_URL",
            "HOOKBOT_URL_BASE",
            "HOOKBOT_TOKEN",
            "HOOKBOT_TOKEN_FILE",
            "HOOKBOT_PUBLISH_TOKEN",
            "HOOKBOT_PROFILE",
        ),
    }
)
"""Variables that are not those of an option of ``serve``."""

# Kubernetes sets these in every pod beside a service that is called hookbot.
_KUBERNETES = re.compile(r"HOOKBOT_(SERVICE_(HOST|PORT)|PORT_|PORT=[a-z]+://)")


def unread_variables(environ: Mapping[str, str], options: Collection[str], file: str) -> Iterator[str]:
    """A sentence for each variable that is of no option, no secret, and no ``env:NAME`` in the text of a file."""
    known = OTHERS | set(options)
    for name, value in sorted(environ.items()):
        of_others = f"env:{name}" in file or _KUBERNETES.match(f"{name}={value}")
        if name.startswith(_PREFIX) and not (name in known or of_others):
            rest, others = name.removeprefix(_PREFIX).upper(), [one.removeprefix(_PREFIX) for one in known]
            close = did_you_mean(rest, others, prefix=_PREFIX)
            yield f"nothing reads the variable {name}{close and f'; {close}'}"


def overriding_variables(environ: Mapping[str, str], given: Mapping[str, str]) -> Iterator[str]:
    """A sentence for each variable that is set and would override an option, given by name with its variable."""
    for name, variable in given.items():
        if environ.get(variable):
            yield f"{variable} is set here: it would override {name} of the file"
