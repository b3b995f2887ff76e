"""Networks that were verified a short time ago, and deliveries that were seen."""

from hookbot.access.senders import MAX_DELIVERIES, MAX_NETWORKS, REMEMBERED_S, SeenDeliveries, VerifiedNetworks


def test_a_verified_network_is_remembered_for_an_hour() -> None:
    verified = VerifiedNetworks()
    verified.add("192.0.2.1", now_s=1000)

    assert verified.has("192.0.2.1", now_s=1000 + REMEMBERED_S - 1)
    assert not verified.has("192.0.2.1", now_s=1000 + REMEMBERED_S)
    assert not verified.has("192.0.2.2", now_s=1000)


def test_each_verified_request_begins_the_hour_anew() -> None:
    verified = VerifiedNetworks()
    verified.add("192.0.2.1", now_s=1000)
    verified.add("192.0.2.1", now_s=2000)

    assert verified.has("192.0.2.1", now_s=1000 + REMEMBERED_S)


def test_of_too_many_networks_the_latest_are_remembered() -> None:
    verified = VerifiedNetworks()
    for number in range(MAX_NETWORKS):
        verified.add(str(number), now_s=1000)
    verified.add("0", now_s=1001)
    verified.add("one more", now_s=1002)

    assert verified.has("0", now_s=1003)
    assert verified.has("one more", now_s=1003)
    assert not verified.has("1", now_s=1003)


def test_a_delivery_is_seen_at_its_source_only() -> None:
    seen = SeenDeliveries()
    seen.add(("/unsafe/a", "1"))

    assert ("/unsafe/a", "1") in seen
    assert ("/unsafe/a", "2") not in seen
    assert ("/unsafe/b", "1") not in seen


def test_of_too_many_deliveries_those_are_remembered_that_came_or_were_repeated_last() -> None:
    seen = SeenDeliveries()
    for number in range(MAX_DELIVERIES):
        seen.add(("/unsafe/a", str(number)))
    seen.add(("/unsafe/a", "0"))
    seen.add(("/unsafe/a", "one more"))

    assert ("/unsafe/a", "0") in seen
    assert ("/unsafe/a", "1") not in seen
    assert ("/unsafe/a", "2") in seen
