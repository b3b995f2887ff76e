"""The trusted clock: jumps of the wall clock, which make nothing older than it is."""

import time
from dataclasses import dataclass

import pytest

from hookbot.log.trusted_clock import MAX_JUMPS, STEADY_US, TOLERANCE_US, TrustedClock, monotonic_us

SECOND_US = 1_000_000
DAY_US = 86_400 * SECOND_US
MONTH_US = 30 * DAY_US
START_US = 1_700_000_000 * SECOND_US


@dataclass
class Machine:
    """A machine whose wall clock is off by `jump_us`, and a trusted clock that is asked once a second."""

    jump_us: int = 0
    passed_us: int = 0

    def __post_init__(self) -> None:
        self.clock = TrustedClock(self.wall_us, lambda: self.passed_us)

    def wall_us(self) -> int:
        return START_US + self.passed_us + self.jump_us

    def run(self, us: int) -> None:
        for _ in range(us // SECOND_US):
            self.passed_us += SECOND_US
            self.clock()

    @property
    def real_us(self) -> int:
        return START_US + self.passed_us


@pytest.fixture
def machine() -> Machine:
    return Machine()


def test_a_clock_that_agrees_is_believed(machine: Machine) -> None:
    machine.run(STEADY_US)
    # As a time server corrects it.
    machine.jump_us += TOLERANCE_US // 2

    assert machine.clock() == machine.wall_us()
    assert machine.clock.jump_s == 0
    assert machine.clock.possible_s == (machine.wall_us() / 1e6,)


@pytest.mark.parametrize("jump_us", [MONTH_US, -MONTH_US, 2 * TOLERANCE_US, -START_US])
def test_a_jump_is_not_followed(machine: Machine, jump_us: int, caplog: pytest.LogCaptureFixture) -> None:
    machine.jump_us = jump_us
    machine.run(4 * SECOND_US)

    assert machine.clock() == machine.real_us
    assert machine.clock.ago_us(DAY_US) == machine.real_us - DAY_US
    assert machine.clock.jump_s == jump_us / 1e6
    assert machine.clock.possible_s == (machine.real_us / 1e6, *([machine.wall_us() / 1e6] if jump_us > 0 else []))
    [line] = caplog.messages
    assert f"jumped by {jump_us // SECOND_US:+d} seconds" in line


def test_when_a_jump_is_over_the_clock_is_believed_again(machine: Machine, caplog: pytest.LogCaptureFixture) -> None:
    machine.jump_us = MONTH_US
    machine.run(STEADY_US - 2 * SECOND_US)
    machine.jump_us = 0
    machine.run(4 * SECOND_US)

    assert machine.clock() == machine.real_us
    assert machine.clock.jump_s == 0
    assert "agrees again" in caplog.messages[-1]


@pytest.mark.parametrize("jump_us", [MONTH_US, -MONTH_US])
def test_a_jump_that_lasts_is_believed_and_makes_nothing_older(
    machine: Machine, jump_us: int, caplog: pytest.LogCaptureFixture
) -> None:
    shown = [(machine.passed_us, machine.clock())]
    machine.jump_us = jump_us
    for _ in range(2 * STEADY_US // SECOND_US):
        machine.run(SECOND_US)
        shown.append((machine.passed_us, machine.clock()))

    assert machine.clock() == machine.wall_us()
    assert machine.clock.jump_s == 0
    assert "follows its jump" in caplog.messages[-1]
    for age_us in (SECOND_US, STEADY_US, machine.passed_us, DAY_US, 2 * MONTH_US):
        since = [time_us for passed_us, time_us in shown if passed_us >= machine.passed_us - age_us]
        assert machine.clock.ago_us(age_us) <= min(since)


def test_after_a_jump_ahead_what_is_old_is_still_known_to_be(machine: Machine) -> None:
    before_us = machine.clock()
    machine.jump_us = MONTH_US
    machine.run(2 * STEADY_US)

    assert machine.clock.ago_us(machine.passed_us) == before_us
    assert machine.clock.ago_us(machine.passed_us + DAY_US) == before_us - DAY_US
    assert machine.clock.ago_us(SECOND_US) == machine.wall_us() - SECOND_US


def test_a_clock_that_jumps_about_is_never_believed(machine: Machine) -> None:
    for jump_us in [MONTH_US, 2 * MONTH_US, -MONTH_US, MONTH_US] * 3:
        machine.jump_us = jump_us
        machine.run(STEADY_US // 2)

    assert machine.clock() == machine.real_us


@pytest.mark.parametrize("rate", [-1, 0.2, 1000])
def test_a_clock_that_stands_still_or_runs_too_fast_is_never_believed(machine: Machine, rate: float) -> None:
    for _ in range(2 * STEADY_US // SECOND_US):
        machine.jump_us += int(rate * SECOND_US)
        machine.run(SECOND_US)

    assert abs(machine.clock() - machine.real_us) <= 3 * TOLERANCE_US


def test_a_clock_that_a_time_server_speeds_up_is_followed(machine: Machine) -> None:
    for _ in range(3 * STEADY_US // SECOND_US):
        machine.jump_us += SECOND_US // 20
        machine.run(SECOND_US)

    assert machine.clock() == machine.wall_us()


@pytest.mark.parametrize("step_us", [50 * SECOND_US, -50 * SECOND_US])
def test_a_clock_that_creeps_away_makes_nothing_older(machine: Machine, step_us: int) -> None:
    for _ in range(10):
        machine.run(STEADY_US)
    stored_us = machine.clock()
    for _ in range(10):
        machine.jump_us += step_us
        machine.run(STEADY_US)

    assert machine.clock() == machine.wall_us()
    assert machine.clock.ago_us(10 * STEADY_US + SECOND_US) <= stored_us
    # With each step counted, it is not much younger either.
    assert machine.clock.ago_us(9 * STEADY_US) > stored_us


def test_a_clock_that_moves_to_and_fro_makes_nothing_older(machine: Machine) -> None:
    machine.run(STEADY_US)
    machine.jump_us = -TOLERANCE_US // 2
    stored_us = machine.clock()
    machine.jump_us = TOLERANCE_US // 2
    machine.run(SECOND_US)
    assert machine.clock.ago_us(2 * SECOND_US) <= stored_us


def test_after_a_long_rest_nothing_has_an_age_until_the_clock_has_been_steady(machine: Machine) -> None:
    machine.clock.check_start(START_US - MONTH_US)
    machine.run(STEADY_US - SECOND_US)
    early_us = machine.clock.ago_us(DAY_US)
    machine.run(SECOND_US)

    assert early_us == 0
    assert machine.clock.ago_us(DAY_US) == machine.real_us - DAY_US


@pytest.mark.parametrize("newest_us", [0, START_US - STEADY_US, START_US, START_US + MONTH_US])
def test_a_start_soon_after_the_newest_message_is_not_in_doubt(machine: Machine, newest_us: int) -> None:
    machine.clock.check_start(newest_us)

    assert machine.clock.ago_us(DAY_US) == machine.real_us - DAY_US


def test_a_start_with_a_wrong_time_is_corrected_and_makes_nothing_older() -> None:
    machine = Machine(jump_us=MONTH_US)
    machine.clock.check_start(START_US - SECOND_US)
    machine.run(STEADY_US // 2)
    machine.jump_us = 0
    machine.run(STEADY_US)
    early_us = machine.clock.ago_us(DAY_US)
    machine.run(2 * SECOND_US)

    assert early_us == 0
    assert machine.clock() == machine.real_us
    assert machine.clock.ago_us(DAY_US) == machine.real_us - DAY_US


def test_what_is_stored_before_a_wrong_start_is_corrected_is_not_older_afterwards() -> None:
    # As a machine without a battery starts: with the time at which it was switched off.
    machine = Machine(jump_us=-MONTH_US)
    machine.clock.check_start(START_US - MONTH_US - 2 * STEADY_US)
    stored_us = machine.clock()
    machine.run(STEADY_US // 2)
    machine.jump_us = 0
    machine.run(2 * STEADY_US)

    assert machine.clock() == machine.real_us
    assert machine.clock.ago_us(DAY_US) <= stored_us
    machine.run(DAY_US - 2 * STEADY_US)
    assert machine.clock.ago_us(DAY_US) <= stored_us + STEADY_US // 2
    machine.run(2 * STEADY_US)
    assert machine.clock.ago_us(DAY_US) == machine.real_us - DAY_US


def test_when_a_wrong_start_is_corrected_what_is_signed_is_fresh_at_once() -> None:
    machine = Machine(jump_us=MONTH_US)
    machine.clock.check_start(START_US)
    machine.run(2 * SECOND_US)
    machine.jump_us = 0
    assert list(machine.clock.possible_s) == [(machine.real_us + MONTH_US) / 1e6, machine.real_us / 1e6]

    machine.run(2 * STEADY_US)
    machine.jump_us = -MONTH_US
    assert list(machine.clock.possible_s) == [machine.real_us / 1e6]


def test_memory_is_bounded(machine: Machine) -> None:
    for number in range(MAX_JUMPS + 10):
        machine.jump_us = (number + 1) * MONTH_US
        for _ in range(2):
            machine.clock()
            machine.passed_us += STEADY_US

    assert len(machine.clock._offsets) == MAX_JUMPS
    assert machine.clock.ago_us(10_000 * MONTH_US) < machine.clock()
    # What was stored at the start is not made older by jumps that are forgotten.
    assert machine.clock.ago_us(machine.passed_us) == START_US


def test_a_plain_function_is_believed_whatever_it_shows() -> None:
    now_us = START_US
    clock = TrustedClock.of(lambda: now_us)
    now_us += MONTH_US

    assert clock() == now_us
    assert clock.ago_us(DAY_US) == now_us - DAY_US
    assert TrustedClock.of(clock) is clock


def test_the_clock_of_this_machine_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = TrustedClock()
    monotonic_s = clock.monotonic_s

    assert abs(clock() - time.time_ns() // 1000) < 60 * SECOND_US
    assert clock.monotonic_s >= monotonic_s
    assert monotonic_us() >= monotonic_s * 1e6
    monkeypatch.setattr("hookbot.log.trusted_clock._BOOT_TIME", None)
    assert monotonic_us() <= time.monotonic_ns() // 1000
