"""The credit bounds what is read and held, and comes back whole."""

from service.wire.frontend.credit import FIRST_GUESS, FLOOD_BYTES, MAX_READING, SMALLEST_CHARGE, ReadCredit

MIB = 1 << 20


def hold(credit: ReadCredit, size: int) -> int:
    """A message of this size was read."""
    return credit.arrived(credit.begin(), size)


def test_first_reads_are_charged_with_a_guess() -> None:
    credit = ReadCredit(4 * FIRST_GUESS)
    for _ in range(4):
        assert not credit.busy
        credit.begin()
    assert credit.busy
    assert not credit.exhausted  # nothing has arrived: the others may wait


def test_arrived_message_is_charged_with_its_size() -> None:
    credit = ReadCredit(64 * MIB)
    charge = hold(credit, 5 * MIB)
    assert (charge, credit.held_bytes, credit.reading_bytes, credit.reading) == (5 * MIB, 5 * MIB, 0, 0)
    credit.release(charge)
    assert credit.held_bytes == 0


def test_small_message_is_charged_with_what_its_call_takes() -> None:
    credit = ReadCredit(64 * MIB)
    assert hold(credit, 1) == SMALLEST_CHARGE


def test_credit_is_exhausted_when_another_message_of_the_usual_size_has_no_room() -> None:
    credit = ReadCredit(100 * MIB)
    charges = []
    while not credit.exhausted:
        charges.append(hold(credit, 10 * MIB))
    assert len(charges) == 10
    credit.release(charges[0])
    assert not credit.exhausted


def test_any_message_may_be_read_where_nothing_is_held() -> None:
    credit = ReadCredit(MIB)
    charge = hold(credit, 60 * MIB)
    assert credit.exhausted
    credit.release(charge)
    assert not credit.exhausted
    assert not credit.busy


def test_guess_follows_smaller_messages_slowly_and_larger_ones_at_once() -> None:
    credit = ReadCredit(1024 * MIB)
    for _ in range(100):
        credit.release(hold(credit, 100_000))
    charge = credit.begin()
    assert 100_000 < charge < FIRST_GUESS // 2
    credit.release(credit.arrived(charge, 10 * MIB))
    assert credit.begin() == 10 * MIB


def test_one_request_is_never_charged_with_more_than_half_of_the_limit_before_it_is_read() -> None:
    credit = ReadCredit(10 * MIB)
    credit.release(hold(credit, 9 * MIB))
    small = [hold(credit, 100) for _ in range(20)]
    assert not credit.exhausted
    for charge in small:
        credit.release(charge)
    assert credit.begin() == 5 * MIB


def test_only_so_many_are_read_at_once_however_small() -> None:
    credit = ReadCredit(1 << 40)
    charges = [credit.begin() for _ in range(MAX_READING)]
    assert credit.busy
    credit.arrived(charges[0], 1)
    assert not credit.busy


def test_message_of_a_stream_is_held_until_it_is_released() -> None:
    credit = ReadCredit(MIB)
    credit.hold(MIB)
    assert credit.exhausted
    credit.release(MIB)
    assert (credit.exhausted, credit.held_bytes) == (False, 0)


def test_relief_is_said_once_when_nearly_all_of_a_flood_is_released() -> None:
    credit = ReadCredit(1 << 30)
    credit.hold(FLOOD_BYTES)
    assert not credit.relieved()
    credit.release(FLOOD_BYTES - 1000)
    assert credit.relieved()
    assert not credit.relieved()
    credit.release(1000)
    assert not credit.relieved()


def test_release_of_less_than_a_flood_is_no_relief() -> None:
    credit = ReadCredit(1 << 30)
    credit.hold(FLOOD_BYTES - 1)
    credit.release(FLOOD_BYTES - 1)
    assert not credit.relieved()
