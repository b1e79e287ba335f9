"""Tokens from bytes."""

from hypothesis import given
from hypothesis import strategies as st

from bursar.domain.estimates import TokenForecast, TokenRatios


def test_before_anything_is_known_three_bytes_are_a_token() -> None:
    ratios = TokenRatios()
    assert [ratios.tokens("m", size) for size in (0, 1, 3, 4, 300)] == [0, 1, 1, 2, 100]


def test_a_first_report_is_believed_and_later_ones_move_it_slowly() -> None:
    ratios = TokenRatios()
    ratios.learn("m", text_bytes=400, tokens=100)
    assert ratios.tokens("m", 400) == 100
    ratios.learn("m", text_bytes=200, tokens=100)
    assert ratios.tokens("m", 400) == 103  # 4 bytes, moved by a twentieth of the way to 2
    assert ratios.tokens("other", 300) == 100


def test_short_answers_teach_nothing() -> None:
    ratios = TokenRatios()
    ratios.learn("m", text_bytes=10, tokens=49)
    assert ratios.tokens("m", 300) == 100


def test_an_absurd_report_does_little_harm() -> None:
    ratios = TokenRatios()
    ratios.learn("m", text_bytes=10**9, tokens=50)
    assert ratios.tokens("m", 600) == 100
    ratios = TokenRatios()
    ratios.learn("m", text_bytes=0, tokens=10**9)
    assert ratios.tokens("m", 130) == 100


def test_it_forgets_the_oldest_of_very_many_models() -> None:
    ratios = TokenRatios()
    for number in range(1001):
        ratios.learn(f"m{number}", text_bytes=600, tokens=100)
    assert ratios.tokens("m0", 300) == 100
    assert ratios.tokens("m1000", 300) == 50


@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)), max_size=20), st.integers(0, 10**6))
def test_an_estimate_stays_within_reason(reports: list[tuple[int, int]], size: int) -> None:
    ratios = TokenRatios()
    for text_bytes, tokens in reports:
        ratios.learn("m", text_bytes=text_bytes, tokens=tokens)
    assert size / 6.01 <= ratios.tokens("m", size) <= size / 1.29 + 1
    assert (ratios.tokens("m", size) == 0) == (size == 0)


# --- what a call will probably use ---


def test_before_anything_is_known_a_token_is_four_bytes_and_an_answer_256() -> None:
    forecast = TokenForecast()
    assert forecast.input("m", 400) == 100
    assert forecast.output("m", choices=1, max_tokens=None) == 256
    assert forecast.output("m", choices=3, max_tokens=None) == 768


def test_the_callers_bound_counts_where_it_is_small() -> None:
    forecast = TokenForecast()
    assert forecast.output("m", choices=2, max_tokens=10) == 20
    assert forecast.output("m", choices=1, max_tokens=100_000) == 256


def test_a_forecast_follows_what_is_used() -> None:
    forecast = TokenForecast()
    for _ in range(3):
        forecast.learn("m", encoded_bytes=600, prompt_tokens=100, completion_tokens=2000, choices=2)
    assert forecast.input("m", 600) == 100
    assert forecast.output("m", choices=1, max_tokens=None) == 1000
    forecast.learn("m", encoded_bytes=600, prompt_tokens=100, completion_tokens=0, choices=1)
    assert forecast.output("m", choices=1, max_tokens=None) == 900
    assert forecast.output("other", choices=1, max_tokens=None) == 256


def test_forecasts_of_very_many_models_forget_the_oldest() -> None:
    forecast = TokenForecast()
    for number in range(1001):
        forecast.learn(str(number), encoded_bytes=100, prompt_tokens=100, completion_tokens=5, choices=1)
    assert forecast.output("0", choices=1, max_tokens=None) == 256
    assert forecast.output("1000", choices=1, max_tokens=None) == 5
