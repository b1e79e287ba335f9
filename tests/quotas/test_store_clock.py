"""The store's clock, from a steady one and what answers tell."""

from hypothesis import given
from hypothesis import strategies as st

from bursar.quotas.store_clock import StoreClock, steady_s


class Steady:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_it_begins_with_the_wall_clock_and_then_goes_by_the_store() -> None:
    steady = Steady()
    clock = StoreClock(steady, lambda: 5000.0)
    assert clock.now_s() == 5000
    clock.learn(7000, sent_s=99, received_s=100)
    assert clock.now_s() == 7000, "rather slow: it may be a second later"
    steady.now_s = 160
    assert clock.now_s() == 7060
    assert clock.at(161) == 7061


def test_an_answer_that_agrees_changes_nothing() -> None:
    steady = Steady()
    clock = StoreClock(steady, lambda: 0.0)
    clock.learn(7000, sent_s=99.9, received_s=100)
    steady.now_s = 110
    clock.learn(7009, sent_s=105, received_s=110)  # a slow answer
    assert clock.now_s() == 7010


@given(
    offset=st.floats(-1e6, 1e9),
    answers=st.lists(st.tuples(st.floats(0, 3), st.floats(0, 3), st.floats(0, 60)), min_size=1, max_size=20),
)
def test_it_is_off_by_no_more_than_the_quickest_answer_took(
    offset: float, answers: list[tuple[float, float, float]]
) -> None:
    steady = Steady()
    clock = StoreClock(steady, lambda: 0.0)
    quickest = 1e9
    for there_s, back_s, pause_s in answers:
        sent_s = steady.now_s
        at_s = sent_s + there_s + offset
        steady.now_s += there_s + back_s
        clock.learn(at_s, sent_s=sent_s, received_s=steady.now_s)
        quickest = min(quickest, there_s + back_s)
        assert abs(clock.now_s() - (steady.now_s + offset)) <= quickest + 1e-5
        steady.now_s += pause_s


def test_a_store_whose_clock_was_set_is_followed() -> None:
    steady = Steady()
    clock = StoreClock(steady, lambda: 0.0)
    for at_s in (7000, 3000, 9000):
        clock.learn(at_s, sent_s=100, received_s=100)
        assert clock.now_s() == at_s


def test_the_steady_clock_goes_on() -> None:
    before = steady_s()
    assert steady_s() >= before
