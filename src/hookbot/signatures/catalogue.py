"""Catalogue of the providers of hookbot."""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from .adyen import Adyen
from .aws_sns import AwsSns
from .challenges import AnyScheme
from .json_web_token import Jwt
from .owners import GITHUB, GitLabOwnership
from .paypal import PayPal
from .provider import Choice, Provider
from .scheme import Scheme
from .senders import BODY_ONLY, FORGES, TIMED, WITH_URL
from .shared_secrets import Basic, EventGrid, Header, MicrosoftGraph, SharedSecret
from .shopify_proxy import ShopifyProxy

_GITLAB = "https://docs.gitlab.com/user/project/integrations/webhooks/"

_GITHUB = Scheme(
    name="github",
    documentation="https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries",
    header="X-Hub-Signature-256",
    prefix="sha256=",
    delivery="X-GitHub-Delivery",
    ownership=GITHUB,
)
_GITHUB_SHA1 = replace(_GITHUB, header="X-Hub-Signature", prefix="sha1=", algorithm="hmac-sha1")

_STANDARD = Scheme(
    name="standard-webhooks",
    documentation="https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md",
    header="webhook-signature|svix-signature",
    prefix="v1,",
    separator=" ",
    encoding="base64",
    template="{id}.{timestamp}.{body}",
    timestamp="webhook-timestamp|svix-timestamp",
    id="webhook-id|svix-id",
    # Supabase shows it behind the version of its signatures.
    key_prefix="whsec_|v1,whsec_",
    key_encoding="base64",
)
_STANDARD_ED25519 = replace(_STANDARD, prefix="v1a,", algorithm="ed25519", key_prefix="whpk_|whsk_|v1a,whpk_|v1a,whsk_")
_GITLAB_SIGNED = replace(_STANDARD, name="gitlab", documentation=_GITLAB)

_OTHERS: tuple[Provider, ...] = (
    replace(_GITHUB, fallback=_GITHUB_SHA1),
    Choice(
        name="gitlab",
        documentation=_GITLAB,
        ownership=GitLabOwnership(),
        rules=(
            ("whsec_", _GITLAB_SIGNED),
            ("v1,whsec_", _GITLAB_SIGNED),
            (
                "",
                SharedSecret(name="gitlab", documentation=_GITLAB, header="X-Gitlab-Token", delivery="Idempotency-Key"),
            ),
        ),
    ),
    Choice(
        name="standard-webhooks",
        documentation=_STANDARD.documentation,
        rules=(*((prefix, _STANDARD_ED25519) for prefix in ("whpk_", "whsk_", "v1a,")), ("", _STANDARD)),
    ),
    Adyen(
        name="adyen",
        documentation="https://docs.adyen.com/development-resources/webhooks/secure-webhooks/verify-hmac-signatures",
        header="HmacSignature",
        encoding="base64",
        key_encoding="hex",
    ),
    AwsSns(
        name="aws-sns", documentation="https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html"
    ),
    PayPal(name="paypal", documentation="https://developer.paypal.com/api/rest/webhooks/rest/"),
    ShopifyProxy(
        name="shopify-proxy",
        documentation="https://shopify.dev/docs/apps/build/online-store/app-proxies/authenticate-app-proxies",
    ),
    MicrosoftGraph(
        name="microsoft-graph",
        documentation="https://learn.microsoft.com/en-us/graph/change-notifications-delivery-webhooks",
        header="json:clientState",
    ),
    Basic(
        name="azure-devops",
        documentation="https://learn.microsoft.com/en-us/azure/devops/service-hooks/services/webhooks",
        header="Authorization",
        prefix="Basic ",
    ),
    Basic(
        name="basic", documentation="https://www.rfc-editor.org/rfc/rfc7617", header="Authorization", prefix="Basic "
    ),
    EventGrid(
        name="azure-event-grid",
        documentation="https://learn.microsoft.com/azure/event-grid/webhook-event-delivery",
        header="query:code",
    ),
    Header(name="header", documentation="https://www.rfc-editor.org/rfc/rfc9110#section-5"),
    AnyScheme(name="hmac", documentation="https://www.rfc-editor.org/rfc/rfc2104"),
    Jwt(name="jwt", documentation="https://www.rfc-editor.org/rfc/rfc7519"),
)

PROVIDERS: Mapping[str, Provider] = MappingProxyType(
    {provider.name: provider for provider in (*FORGES, *BODY_ONLY, *TIMED, *WITH_URL, *_OTHERS)}
)
