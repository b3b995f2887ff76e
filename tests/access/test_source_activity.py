from hookbot.access.source_activity import SourceActivity


def test_deliveries_repeats_and_refusals_are_counted_each_with_its_last_time() -> None:
    activity = SourceActivity()
    activity.accept(1, is_repeat=False)
    activity.accept(2, is_repeat=False)
    activity.accept(3, is_repeat=True)
    activity.refuse(4, "no")
    activity.refuse(5, "wrong")

    assert activity == SourceActivity(2, 1, 2, 3, 5, "wrong")


def test_an_earlier_delivery_is_remembered_unless_a_later_one_is_known() -> None:
    activity = SourceActivity()
    activity.recall(-5)
    assert activity.last_accepted_s == -5
    activity.accept(1, is_repeat=False)
    activity.recall(-2)
    assert activity == SourceActivity(1, last_accepted_s=1)
