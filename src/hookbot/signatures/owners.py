"""Owners: the accounts that a delivery is about, by the names in its body.

A signature proves who holds a secret, but not whom the body may name. An `Ownership` is the rule by which the bodies
of a provider name repositories, groups or accounts. Sources check by it that all of them belong to their owners, and
routers make topics of them, so that both read the same names.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from ..errors import ConfigError, Forbidden, InvalidTopic, kind_of
from ..protocol.topics import UNSAFE, check_topic
from .readings import readings_of
from .request import SignedRequest

# Where GitHub names an account beside organisations: of an app, also when it is renamed, of a purchase, of a sponsor.
_ACCOUNTS = ("installation.account", "account", "marketplace_purchase.account", "sponsorship.sponsorable")


class Name(NamedTuple):
    """A name in a delivery: its kind, such as ``repo``, and its path, such as ``acme/app``."""

    kind: str
    path: str


class Ownership(ABC):
    """The rule by which the deliveries of a provider name what they are about. Plugins subclass it."""

    @abstractmethod
    def names(self, payload: Mapping[str, Any]) -> Iterator[Name]:
        """Everything that a delivery is about, as far as routers go by it; the first name is the topic's.

        Raises `ValueError` for a malformed name.
        """

    def owner_in(self, topic: str) -> str | None:
        """The owner that the topic of a source names, such as ``acme`` in ``/unsafe/github.com/org/acme``, or None."""
        return None

    def owned_path(self, name: Name) -> str:
        """The path by which a name belongs to an owner: the name's own, unless another account could have the same."""
        return name.path

    def check(self, request: SignedRequest, owners: Sequence[str]) -> None:
        """Raise `Forbidden` if a verified request names anything that does not belong to one of the owners.

        A request that names nothing passes: no router takes it for anybody's.
        """
        for payload in readings_of(request):
            try:
                names = list(self.names(payload))
            except (ValueError, TypeError, LookupError, AttributeError) as error:
                raise Forbidden(f"a name in the body is malformed, so that nobody owns it ({error!s:.200})") from None
            for path in map(self.owned_path, names):
                if not any(belongs(path, owner) for owner in owners):
                    raise Forbidden(f"the body names {path[:80]!r}, which does not belong to {', '.join(owners)}")


class GitHubOwnership(Ownership):
    """Ownership of repositories, organisations and accounts at GitHub, and at forges whose payloads are like GitHub's.

    An enterprise, which GitHub adds to the deliveries of its organisations, counts only where nothing else is named. It
    may be called like an organisation of somebody else, so that its owner is ``enterprises/SLUG``, as in GitHub's URLs.

    https://docs.github.com/en/webhooks/webhook-events-and-payloads
    """

    def names(self, payload: Mapping[str, Any]) -> Iterator[Name]:
        """Names of the repository and its owner, the organisation, accounts, and repositories of an installation."""
        repository = _object(payload, "repository")
        # First, and before the rest is looked at, because nearly always the first name is all that a router asks for.
        if repository:
            yield Name("repo", _text(repository.get("full_name")))
        organization = _object(payload, "organization")
        if organization:
            yield Name("org", _text(organization.get("login") or organization.get("username")))
        installation = _object(payload, "installation")
        accounts = [account for place in _ACCOUNTS if (account := _object(payload, *place.split(".")))]
        yield from map(_account, accounts)
        if owner := _object(repository, "owner").get("login"):
            yield Name("org", _text(owner))
        for listed in ("repositories", "repositories_added", "repositories_removed"):
            yield from (Name("repo", _text(_object(one).get("full_name"))) for one in _array(payload, listed))
        enterprise = _object(payload, "enterprise")
        if enterprise and not (repository or organization or accounts):
            yield _account(enterprise)
        # A user who withdraws an authorization (`github_app_authorization`) is named nowhere else. The account of an
        # installation in an enterprise can be null; who has installed it is not its owner.
        withdrawn = payload.keys() <= {"action", "sender", "installation"} and "account" not in installation
        if withdrawn and payload.get("sender"):
            yield _account(_object(payload, "sender"))

    def owned_path(self, name: Name) -> str:
        """The path; of an enterprise with ``enterprises/``, which is the login of nobody."""
        return f"enterprises/{name.path}" if name.kind == "enterprise" else name.path

    def owner_in(self, topic: str) -> str | None:
        """The account in ``HOST/org/LOGIN`` or ``HOST/repo/OWNER/NAME``, and beneath them."""
        match _segments(topic):
            case [_, "org" | "repo", owner, *_]:
                return owner
        return None


class GitLabOwnership(Ownership):
    """Ownership of projects and groups at GitLab.

    The events of a member name only the last part of a subgroup's path, which is taken for a group of that name.

    https://docs.gitlab.com/user/project/integrations/webhook_events/
    https://docs.gitlab.com/administration/system_hooks/
    """

    def names(self, payload: Mapping[str, Any]) -> Iterator[Name]:
        """Paths of the project, or else of the group."""
        project, group = _object(payload, "project"), _object(payload, "group")
        named = [
            ("project", project.get("path_with_namespace")),
            ("project", payload.get("path_with_namespace")),
            ("project", payload.get("project_path_with_namespace")),
            ("group", group.get("full_path") or group.get("group_path")),
            ("group", payload.get("full_path") or payload.get("group_path")),
        ]
        if not any(path for _, path in named):
            named = [self._only_name(payload)]
        yield from (Name(kind, _text(path)) for kind, path in named if path)

    def _only_name(self, payload: Mapping[str, Any]) -> tuple[str, Any]:
        """Kind and path in the places that count only where nothing else is named."""
        if "group_id" in payload:
            return "group", payload.get("path")
        # Job events of older versions have only the URL of their project, those of vulnerabilities only their own URL.
        homepage = _object(payload, "repository").get("homepage")
        url = homepage or _object(payload, "object_attributes").get("url")
        path, dash, _ = urlsplit(_text(url) if url else "").path.strip("/").partition("/-/")
        if path.startswith("groups/"):
            return "group", path.removeprefix("groups/")
        return "project", path if homepage or dash else None

    def owner_in(self, topic: str) -> str | None:
        """The path in ``HOST/PATH``, such as ``gitlab.com/acme``, also after ``group`` or ``project``."""
        match _segments(topic):
            case [host, "group" | "project", first, *others] if _is_host(host):
                return "/".join((first, *others))
            case [host, first, *others] if _is_host(host):
                return "/".join((first, *others))
        return None


class BitbucketOwnership(Ownership):
    """Ownership of Bitbucket's repositories: of the workspaces of its cloud, of the projects of Data Center.

    https://support.atlassian.com/bitbucket-cloud/docs/event-payloads/
    https://confluence.atlassian.com/bitbucketserver/event-payload-938025882.html
    """

    def names(self, payload: Mapping[str, Any]) -> Iterator[Name]:
        """Workspace, or key of the project, and name of the repository."""
        for place in (("repository",), ("pullRequest", "toRef", "repository")):
            if repository := _object(payload, *place):
                project, slug = _object(repository, "project"), repository.get("slug")
                yield Name("repo", _text(repository.get("full_name") or f"{_text(project.get('key'))}/{_text(slug)}"))

    def owner_in(self, topic: str) -> str | None:
        """The workspace in ``bitbucket.org/WORKSPACE``, also after ``repo``, and beneath it."""
        match _segments(topic):
            case ["bitbucket.org", "repo", workspace, *_] | ["bitbucket.org", workspace, *_]:
                return workspace
        return None


class StripeOwnership(Ownership):
    """Ownership of Stripe's connected accounts. The events of an account of one's own name none.

    https://docs.stripe.com/connect/webhooks
    https://docs.stripe.com/api/v2/core/events/object
    """

    def names(self, payload: Mapping[str, Any]) -> Iterator[Name]:
        """The connected account; of a thin event, the last one in its context, such as ``acct_1/acct_2``."""
        _object(payload)
        if account := payload.get("account"):
            yield Name("account", _text(account))
        elif context := payload.get("context"):
            yield Name("account", _text(_text(context).rpartition("/")[2]))

    def owner_in(self, topic: str) -> str | None:
        """The first segment that is the id of an account, such as ``acct_1032D82eZvKYlo2C``."""
        return next((segment for segment in _segments(topic) if segment.startswith("acct_")), None)


GITHUB = GitHubOwnership()


def belongs(path: str, owner: str) -> bool:
    """True if a path is an owner's own, or beneath it. The case of ASCII letters does not matter.

    Nobody owns a path that is no topic, such as ``acme/../evil``.
    """
    try:
        check_topic(path)
    except InvalidTopic:
        return False
    # Only ASCII, as all names of these senders are: str.casefold makes one of ß and ss, which are two owners.
    return not path.endswith("/") and f"{path}/".encode().lower().startswith(f"{owner}/".encode().lower())


def check_owner(owner: str) -> str:
    """The owner unchanged; raises `ConfigError` if nothing could belong to it."""
    if owner == "*":
        raise ConfigError('"*" stands for any owner, alone in the list')
    # Some sites show a name with @, which no body has.
    if owner and not owner.startswith("@") and belongs(owner, owner):
        return owner
    raise ConfigError(f"an owner is like 'acme', or 'acme/team' for a subgroup, not {owner!r}")


def _segments(topic: str) -> list[str]:
    return topic.removeprefix(UNSAFE).rstrip("/").split("/")


def _is_host(segment: str) -> bool:
    return "." in segment or segment == "gitlab"


def _account(account: Mapping[str, Any]) -> Name:
    # An app may be installed in an enterprise, which has no login.
    kind, key = ("org", "login") if account.get("login") else ("enterprise", "slug")
    return Name(kind, _text(account.get(key)))


def _object(value: Any, *keys: str) -> Mapping[str, Any]:
    """The object that lies in another one beneath each key in turn; an empty one if it is missing or null."""
    for key in keys:
        value = _object(value).get(key) or {}
    if not isinstance(value, dict):
        raise ValueError(f"{'.'.join(keys) or 'the body'} of a delivery must be a JSON object, not {kind_of(value)}")
    return value


def _array(payload: Mapping[str, Any], key: str) -> list[Any]:
    value = payload.get(key) or []
    if not isinstance(value, list):
        raise ValueError(f"{key} of a delivery must be a JSON array, not {kind_of(value)}")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"a name in a delivery must be a string that is not empty, not {value!r:.80}")
    return value
