"""The REST API of webhooks: subscriptions, and the deliveries to each.

Every request needs the write token, reading too: URLs of receivers often contain secrets.
"""

import json
import re
from datetime import UTC, datetime
from typing import Annotated, Literal
from urllib.parse import urlsplit

from flask import Response
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from notifier.events import SUBSCRIBED_TYPES, EventType, SubscribedType
from notifier.store import deliveries as outgoing
from notifier.store import subscriptions as store
from notifier.store.tables import Delivery, Subscription
from notifier.web.api import PREFIX, Page
from notifier.web.context import service
from notifier.web.problems import problem_schemas
from notifier.web.security import require_write
from superres.errors import ForbiddenUrlError, TransferError
from superres.service.problems import Problem
from superres.service.public_http import public_addresses

_MAX_SUBSCRIPTIONS = 100  # every event goes to all of them
_PLAIN = r"^[^\x00-\x1f\x7f]*$"
_URL = r"^https?://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?([/?][!\"$-~]*)?$"
# The OpenAPI document asks for host names. IP addresses are accepted as well if they are public,
# which no pattern can express.
_NAMED_URL = r"^https?://[A-Za-z][A-Za-z0-9._-]*(:[0-9]{1,4})?([/?][!\"$-~]*)?$"
blueprint = APIBlueprint(
    "subscriptions",
    __name__,
    url_prefix=PREFIX,
    abp_tags=[Tag(name="subscriptions", description="Standard Webhooks")],
    abp_security=[{"token": []}],
    abp_responses=problem_schemas(401, 403, 429, 503),
)
blueprint.before_request(require_write)


def _checked_url(url: str) -> str:
    if not re.fullmatch(_URL[1:-1], url):
        raise ValueError(
            "expected http:// or https://, a host in ASCII (punycode for other letters), and no "
            "user, password, space, control character or #fragment"
        )
    try:
        _ = urlsplit(url).port, urlsplit(url).hostname
    except ValueError as error:
        raise ValueError(f"not a valid URL: {error}") from None
    return url


Url = Annotated[
    str,
    Field(max_length=2000, json_schema_extra={"pattern": _NAMED_URL}),
    AfterValidator(_checked_url),
]


class NewSubscription(BaseModel):
    """The URL to send events to, and their types."""

    model_config = ConfigDict(extra="forbid", strict=True)

    url: Url
    types: list[SubscribedType] = Field(list(SUBSCRIBED_TYPES), min_length=1, max_length=10)
    description: str = Field("", max_length=200, pattern=_PLAIN)


class SubscriptionChange(BaseModel):
    """Enables or disables a subscription."""

    model_config = ConfigDict(extra="forbid", strict=True)

    enabled: bool


class KnownSubscription(BaseModel):
    """A subscription; ``failing_since`` is the first failure after the last success."""

    id: str
    url: str
    types: list[SubscribedType]
    description: str
    created_at: datetime
    enabled: bool
    failing_since: datetime | None
    disabled_at: datetime | None
    disabled_reason: str | None


class CreatedSubscription(KnownSubscription):
    """A new subscription with the secret that signs its events, which is returned only once."""

    secret: str


class SubscriptionList(BaseModel):
    """All subscriptions, the oldest first."""

    subscriptions: list[KnownSubscription]


class KnownDelivery(BaseModel):
    """The delivery of one event to one subscription.

    ``due_at`` is the time of the next attempt while it is pending, ``give_up_at`` that of the last;
    ``status`` and ``error`` belong to the latest attempt, ``attempts`` counts those since it was
    created or replayed.
    """

    id: int
    message_id: str
    type: EventType
    state: Literal["pending", "delivered", "failed"]
    created_at: datetime
    due_at: datetime
    give_up_at: datetime
    ended_at: datetime | None
    attempts: int
    status: int | None
    error: str | None


class DeliveryList(BaseModel):
    """Some deliveries; ``next`` is the cursor of the next page, null on the last."""

    deliveries: list[KnownDelivery]
    next: str | None


class SubscriptionPath(BaseModel):
    """Which subscription."""

    subscription_id: str = Field(pattern=r"^sub_[0-9a-f]{32}$")


class DeliveryPath(SubscriptionPath):
    """Which delivery of which subscription."""

    delivery_id: int = Field(ge=1, lt=2**31)


@blueprint.post(
    "/subscriptions",
    summary="Subscribe",
    responses={201: CreatedSubscription, **problem_schemas(409, 422)},
)
def create_subscription(body: NewSubscription) -> Response:
    """The response contains the secret (``whsec_…``), which is never returned again."""
    _check_address(body.url)
    with service().database.writing() as session:
        if store.count_subscriptions(session) >= _MAX_SUBSCRIPTIONS:
            raise Problem(409, f"{_MAX_SUBSCRIPTIONS} subscriptions is the maximum: delete one")
        created = store.create_subscription(
            session, body.url, body.types, body.description, datetime.now(UTC)
        )
    content = CreatedSubscription(secret=created.secret, **dict(_known(created)))
    response = _response(content, 201)
    response.headers["Location"] = f"{PREFIX}/subscriptions/{created.id}"
    return response


@blueprint.get("/subscriptions", summary="Subscriptions", responses={200: SubscriptionList})
def list_subscriptions() -> Response:
    """All subscriptions; there are few."""
    with service().database.reading() as session:
        found = store.all_subscriptions(session)
    return _response(SubscriptionList(subscriptions=[_known(each) for each in found]))


@blueprint.get(
    "/subscriptions/<subscription_id>",
    summary="One subscription",
    responses={200: KnownSubscription, **problem_schemas(404, 422)},
)
def get_subscription(path: SubscriptionPath) -> Response:
    """Its state."""
    with service().database.reading() as session:
        found = store.subscription_of(session, path.subscription_id) or _missing(path)
    return _response(_known(found))


@blueprint.patch(
    "/subscriptions/<subscription_id>",
    summary="Enable or disable",
    responses={200: KnownSubscription, **problem_schemas(404, 422)},
)
def change_subscription(path: SubscriptionPath, body: SubscriptionChange) -> Response:
    """Deliveries to a disabled subscription wait until it is enabled or they are given up."""
    name = path.subscription_id
    with service().database.writing() as session:
        if body.enabled:
            store.enable(session, name)
        else:
            store.disable(session, name, "disabled by hand", datetime.now(UTC))
        found = store.subscription_of(session, name) or _missing(path)
    return _response(_known(found))


@blueprint.delete(
    "/subscriptions/<subscription_id>",
    summary="Unsubscribe",
    responses={204: None, **problem_schemas(404, 422)},
)
def delete_subscription(path: SubscriptionPath) -> Response:
    """Its deliveries are deleted with it."""
    with service().database.writing() as session:
        if not store.delete_subscription(session, path.subscription_id):
            _missing(path)
    return Response(status=204)


@blueprint.post(
    "/subscriptions/<subscription_id>/test",
    summary="Send a test event",
    responses={202: KnownDelivery, **problem_schemas(404, 409, 422)},
)
def send_test(path: SubscriptionPath) -> Response:
    """Sends an event of type ``test`` to this subscription only, whatever its types."""
    with service().database.writing() as session:
        _check_enabled(store.subscription_of(session, path.subscription_id) or _missing(path))
        delivery = outgoing.add_test(session, path.subscription_id, datetime.now(UTC))
    return _response(_known_delivery(delivery), 202)


@blueprint.get(
    "/subscriptions/<subscription_id>/deliveries",
    summary="Deliveries",
    responses={200: DeliveryList, **problem_schemas(404, 422)},
)
def list_deliveries(path: SubscriptionPath, query: Page) -> Response:
    """Deliveries to this subscription, newest first."""
    with service().database.reading() as session:
        if store.subscription_of(session, path.subscription_id) is None:
            _missing(path)
        found, after = outgoing.deliveries_to(
            session, path.subscription_id, query.limit, query.position
        )
    known = [_known_delivery(each) for each in found]
    return _response(DeliveryList(deliveries=known, next=after and after.cursor()))


@blueprint.post(
    "/subscriptions/<subscription_id>/deliveries/<delivery_id>/replay",
    summary="Send again",
    responses={202: KnownDelivery, **problem_schemas(404, 409, 422)},
)
def replay_delivery(path: DeliveryPath) -> Response:
    """At once, under the same ``webhook-id``, and with the same time to arrive as a new one."""
    with service().database.writing() as session:
        _check_enabled(store.subscription_of(session, path.subscription_id) or _missing(path))
        now = datetime.now(UTC)
        found = outgoing.replay(session, path.subscription_id, path.delivery_id, now)
        if found is None:
            raise Problem(404, f"no delivery {path.delivery_id} to {path.subscription_id}")
    return _response(_known_delivery(found), 202)


def _check_address(url: str) -> None:
    """Raises ``Problem`` for a host that the sender may not connect to."""
    parts = urlsplit(url)
    allowed = {host.lower() for host in service().settings.notifier.allowed_hosts}
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        public_addresses(parts.hostname or "", port, allowed)
    except ForbiddenUrlError as error:
        reason = str(error).replace("allowed_hosts", "notifier.allowed_hosts")
        raise Problem(422, f"url: {reason}", errors=[{"field": "url", "reason": reason}]) from None
    except TransferError:
        return  # the name may resolve later; it is checked before every connection


def _check_enabled(subscription: Subscription) -> None:
    if subscription.disabled_at is not None:
        raise Problem(
            409,
            f"the subscription is disabled ({subscription.disabled_reason}): "
            'PATCH it to {"enabled": true}',
        )


def _missing(path: SubscriptionPath) -> Subscription:
    raise Problem(404, f"no subscription {path.subscription_id}")


def _known(found: Subscription) -> KnownSubscription:
    return KnownSubscription(
        id=found.id,
        url=found.url,
        types=json.loads(found.types),
        description=found.description,
        created_at=found.created_at,
        enabled=found.disabled_at is None,
        failing_since=found.failing_since,
        disabled_at=found.disabled_at,
        disabled_reason=found.disabled_reason,
    )


def _known_delivery(delivery: Delivery) -> KnownDelivery:
    return KnownDelivery.model_validate(delivery, from_attributes=True)


def _response(model: BaseModel, status: int = 200) -> Response:
    content = model.model_dump_json() + "\n"
    response = Response(content, status, mimetype="application/json")
    response.headers["Cache-Control"] = "no-store"
    return response
