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


def test_a_delivery_is_as_old_as_its_first_appearance_at_its_source() -> None:
    seen = SeenDeliveries()
    seen.add(("/unsafe/a", "1"), now_s=1000)
    seen.add(("/unsafe/a", "1"), now_s=1500)

    assert seen.age_s(("/unsafe/a", "1"), now_s=2000) == 1000
    assert seen.age_s(("/unsafe/a", "2"), now_s=2000) is None
    assert seen.age_s(("/unsafe/b", "1"), now_s=2000) is None


def test_of_too_many_deliveries_those_are_remembered_that_came_or_were_repeated_last() -> None:
    seen = SeenDeliveries()
    for delivery in (*map(str, range(MAX_DELIVERIES)), "0", "one more"):
        seen.add(("/unsafe/a", delivery), now_s=1000)

    assert [seen.age_s(("/unsafe/a", delivery), now_s=1000) for delivery in ("0", "1", "2")] == [0, None, 0]
