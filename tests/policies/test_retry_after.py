"""Retry-After in the forms of RFC 9110, and everything that is none of them."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ringme_async.policies.retry_after import retry_after
from ringme_async.transports import Headers

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
A_DAY = 86_400


def asked(value: str, now: datetime = NOON, *, date: str | None = None) -> float | None:
    headers = {"Retry-After": value}
    if date is not None:
        headers["Date"] = date
    return retry_after(Headers(headers), now)


class TestSeconds:
    @pytest.mark.parametrize(
        ("value", "seconds"),
        [
            ("0", 0),
            ("120", 120),  # RFC 9110, 10.2.3
            ("2", 2),  # go-retryablehttp
            ("1000", 1000),  # urllib3
            ("\t42 ", 42),  # urllib3
            ("3600", 3600),
            (" 5 ", 5),
            ("007", 7),
            ("0" * 5_000 + "9", 9),
            (str(A_DAY), A_DAY),
        ],
    )
    def test_are_digits_with_blanks_around_them_at_most(self, value: str, seconds: int) -> None:
        assert asked(value) == seconds

    @pytest.mark.parametrize(
        "value",
        [
            *("-1", "+1", "1.0", "\xb2"),  # urllib3
            *("", "-2", "badbadbad"),  # go-retryablehttp
            *("-120", "not a date"),  # gofish
            *("9999999999", "later"),
            *("1e3", "0x10", "1.5", "1e6"),
            *("nan", "NaN", "inf", "-inf", "Infinity", "-0", "5.", ".5", "5s", "1_000", "1 000"),
            *("１２", "٣", "①", "五"),
            *("\n5", "5\r\n", "\u00a05", "5\u2003", "\v5", "5\x00", "\ufeff5"),
            *("5, 10", "5,5", "5;10", "5 10", "5,", '"5"'),
            *("X5", "5X", "XX5XX"),
            *("1:00:00", "PT5S", "null", "None", "true", "[5]"),
            str(A_DAY + 1),
            "9" * 10_000,
        ],
    )
    def test_anything_but_digits_is_ignored(self, value: str) -> None:
        assert asked(value) is None

    def test_a_missing_header_asks_for_nothing(self) -> None:
        assert retry_after({}, NOON) is None
        assert retry_after({"date": "Mon, 23 Nov 2026 12:00:00 GMT"}, NOON) is None

    @pytest.mark.parametrize("name", ["Retry-After", "retry-after", "RETRY-AFTER"])
    def test_the_header_is_found_in_any_letter_case(self, name: str) -> None:
        assert retry_after({name: "3"}, NOON) == 3


class TestDates:
    @pytest.mark.parametrize(
        "value",
        [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
        ],
    )
    def test_all_three_forms_of_rfc_9110_are_read(self, value: str) -> None:
        assert asked(value, datetime(1994, 11, 6, 8, 48, 37, tzinfo=UTC)) == 60

    @pytest.mark.parametrize(
        ("value", "now", "seconds"),
        [
            # go-retryablehttp
            ("Fri, 31 Dec 1999 23:59:59 GMT", datetime(1999, 12, 31, 23, 59, 57), 2),
            ("Fri, 31 Dec 1999 23:59:00 GMT", datetime(1999, 12, 31, 23, 59, 57), 0),
            # urllib3
            ("Mon, 3 Jun 2019 12:00:00 UTC", datetime(2019, 6, 3, 11), 3600),
            ("Mon, 3 Jun 2019 11:00:00 UTC", datetime(2019, 6, 3, 11), 0),
            ("Mon, 03 Jun 2019 11:30:12 GMT", datetime(2019, 6, 3, 11), 1812),
            ("Monday, 03-Jun-19 11:30:12 GMT", datetime(2019, 6, 3, 11), 1812),
            ("Mon Jun  3 11:30:12 2019", datetime(2019, 6, 3, 11), 1812),
            # gofish
            ("Wed, 21 Oct 2015 07:28:00 GMT", datetime(2015, 10, 21, 7, 23), 300),
            # libwww-perl's date, in its forms that RFC 9110 knows
            ("Thu, 03 Feb 1994 00:00:00 GMT", datetime(1994, 2, 2, 23, 59), 60),
            ("Thursday, 03-Feb-94 00:00:00 GMT", datetime(1994, 2, 2, 23, 59), 60),
            ("Thu Feb  3 00:00:00 1994", datetime(1994, 2, 2, 23, 59), 60),
            ("Tue Feb 22 00:00:30 1994", datetime(1994, 2, 22), 30),
        ],
    )
    def test_other_projects_read_the_same(self, value: str, now: datetime, seconds: int) -> None:
        assert asked(value, now) == seconds

    @pytest.mark.parametrize(
        "value",
        [
            "Fri, 32 Dec 1999 23:59:59 GMT",  # go-retryablehttp
            "Mon, 30 Feb 2026 12:00:00 GMT",
            "Thu, 29 Feb 2025 12:00:00 GMT",
            "Mon, 23 Nov 2026 24:00:00 GMT",
            "Mon, 23 Nov 2026 12:60:00 GMT",
            "Mon, 23 Nov 2026 12:00:61 GMT",
            "Mon, 00 Nov 2026 12:00:00 GMT",
            "Sat, 01 Jan 0000 00:00:00 GMT",
            "Sun, 06 Nov 100000 08:49:37 GMT",
            "Sun Nov  6 08:49:37 100000",
            "Fri, 31 Dec 9999 23:59:60 GMT",
            "Mon, 23 Nov 26 12:00:05 GMT",
            "Monday, 23-Nov-2026 12:00:05 GMT",
            "Mon, 23 Nov 2026 12:00:05",
            "Mon, 23 Nov 2026 12:00:05 EST",
            "Mon, 23 Nov 2026 12:00:05 +0000",
            "Mon, 23 Nov 2026 12:00 GMT",
            "Mon, 23 Nov 2026 12:00:05 GMT, Mon, 23 Nov 2026 12:00:09 GMT",
            "23 Nov 2026 12:00:05 GMT",
            "Mon 23 Nov 2026 12:00:05 GMT",
            "Mon, 23 Nov ２０２６ 12:00:05 GMT",
            "2026-11-23T12:00:05Z",
            "1764072005.5",
        ],
    )
    def test_an_invalid_date_is_ignored(self, value: str) -> None:
        assert asked(value) is None

    def test_a_date_that_has_passed_asks_for_no_wait(self) -> None:
        assert asked("Mon, 23 Nov 2026 11:59:59 GMT") == 0
        assert asked("Sun, 06 Nov 1994 08:49:37 GMT") == 0

    def test_a_date_a_day_ahead_is_the_last_valid_one(self) -> None:
        assert asked("Tue, 24 Nov 2026 12:00:00 GMT") == A_DAY
        assert asked("Tue, 24 Nov 2026 12:00:01 GMT") is None
        assert asked("Fri, 31 Dec 9999 23:59:59 GMT") is None

    def test_a_leap_second_is_the_one_after_59(self) -> None:
        now = datetime(2016, 12, 31, 23, 59, 50, tzinfo=UTC)
        assert asked("Sat, 31 Dec 2016 23:59:60 GMT", now) == 10

    def test_letter_case_and_the_day_of_the_week_do_not_matter(self) -> None:
        assert asked("TUE, 23 NOV 2026 12:00:05 gmt") == 5


class TestTwoDigitYears:
    """RFC 9110, 5.6.7: over 50 years ahead means the latest such year in the past."""

    @pytest.mark.parametrize(
        ("now", "value"),
        [
            # Django
            (datetime(2019, 11, 6, 8, 49, 37), "Tuesday, 31-Dec-69 08:49:37 GMT"),
            (datetime(2020, 11, 6, 8, 49, 37), "Wednesday, 31-Dec-70 08:49:37 GMT"),
        ],
    )
    def test_the_last_day_of_the_fiftieth_year_is_over_fifty_years_ahead_for_us(
        self, now: datetime, value: str
    ) -> None:
        assert asked(value, now) == 0

    def test_fifty_years_ahead_to_the_second_is_still_ahead(self) -> None:
        assert asked("Sunday, 23-Nov-76 12:00:00 GMT") is None
        assert asked("Sunday, 23-Nov-76 12:00:01 GMT") == 0

    @pytest.mark.parametrize(
        ("now", "value"),
        [
            (datetime(2099, 12, 31, 23, 59, 55, tzinfo=UTC), "Friday, 01-Jan-00 00:00:00 GMT"),
            (datetime(1999, 12, 31, 23, 59, 55, tzinfo=UTC), "Saturday, 01-Jan-00 00:00:00 GMT"),
            (datetime(2026, 11, 23, 12, tzinfo=UTC), "Monday, 23-Nov-26 12:00:05 GMT"),
        ],
    )
    def test_the_turn_of_a_century_is_five_seconds_away(self, now: datetime, value: str) -> None:
        assert asked(value, now) == 5

    def test_the_year_is_that_of_utc(self) -> None:
        west = timezone(timedelta(hours=-12))
        now = datetime(2025, 12, 31, 11, 59, 55, tzinfo=west)
        assert asked("Wednesday, 31-Dec-25 23:59:59 GMT", now) == 4

    def test_fifty_years_are_counted_from_the_moment_in_utc(self) -> None:
        # Half past eleven in the evening there, and half past one of the new year in Greenwich.
        now = datetime(2025, 12, 31, 23, 30, tzinfo=timezone(timedelta(hours=-2)))
        date = "Wed, 01 Jan 2076 00:59:00 GMT"
        assert asked("Wednesday, 01-Jan-76 01:00:00 GMT", now, date=date) == 60

    @pytest.mark.skipif(not hasattr(time, "tzset"), reason="the zone is the system's there")
    def test_the_zone_of_the_machine_does_not_matter(self, monkeypatch: pytest.MonkeyPatch) -> None:
        now = datetime(2026, 1, 1, 1, 30, tzinfo=UTC)
        date = "Wed, 01 Jan 2076 00:59:00 GMT"
        with monkeypatch.context() as west:
            west.setenv("TZ", "WEST+12")
            time.tzset()
            found = asked("Wednesday, 01-Jan-76 01:00:00 GMT", now, date=date)
        time.tzset()
        assert found == 60

    def test_a_year_of_the_last_century_is_the_right_one(self) -> None:
        date = "Sun, 06 Nov 1994 08:49:37 GMT"
        assert asked("Sunday, 06-Nov-94 08:50:37 GMT", date=date) == 60

    def test_the_years_of_the_answer_s_own_date_are_counted_from_our_clock(self) -> None:
        now = datetime(2005, 1, 1, tzinfo=UTC)
        date = "Friday, 01-Jan-60 00:00:00 GMT"
        assert asked("Fri, 01 Jan 1960 00:01:00 GMT", now, date=date) == 60

    def test_a_clock_at_the_very_beginning_has_no_utc(self) -> None:
        now = datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14)))
        assert asked("Monday, 01-Jan-60 12:00:00 GMT", now) is None

    @pytest.mark.parametrize("now", [datetime.min, datetime.max])
    def test_clocks_at_the_ends_of_the_calendar_do_no_harm(self, now: datetime) -> None:
        for moment in (
            now,
            now.replace(tzinfo=UTC),
            now.replace(tzinfo=timezone(-timedelta(1) / 2)),
        ):
            for year in ("00", "50", "99"):
                assert asked(f"Monday, 29-Feb-{year} 12:00:00 GMT", moment) in (None, 0)


class TestClocks:
    date = "Mon, 23 Nov 2026 12:00:00 GMT"

    def test_the_answer_s_own_date_comes_before_our_clock(self) -> None:
        ours = datetime(2031, 1, 1, tzinfo=UTC)
        assert asked("Mon, 23 Nov 2026 12:00:09 GMT", ours, date=self.date) == 9

    @pytest.mark.parametrize(
        "date",
        [
            *("", "yesterday", "0", "Mon, 99 Nov 2026 12:00:00 GMT"),
            *("\vMon, 23 Nov 2026 11:00:00 GMT", "XMon, 23 Nov 2026 11:00:00 GMTX"),
        ],
    )
    def test_an_unreadable_date_leaves_it_to_our_clock(self, date: str) -> None:
        assert asked("Mon, 23 Nov 2026 12:00:09 GMT", date=date) == 9

    def test_the_date_may_come_in_the_old_forms(self) -> None:
        for date in ("Monday, 23-Nov-26 12:00:00 GMT", "Mon Nov 23 12:00:00 2026"):
            assert asked("Mon, 23 Nov 2026 12:00:09 GMT", date=date) == 9

    def test_seconds_need_no_clock_at_all(self) -> None:
        def broken() -> datetime:
            raise AssertionError("asked for the time")

        assert retry_after({"retry-after": "5"}, broken) == 5
        assert retry_after({"retry-after": "x"}, broken) is None

    def test_a_clock_without_a_zone_is_taken_as_utc(self) -> None:
        assert asked("Mon, 23 Nov 2026 12:00:09 GMT", datetime(2026, 11, 23, 12)) == 9

    def test_a_clock_in_another_zone_is_understood(self) -> None:
        moscow = NOON.astimezone(timezone(timedelta(hours=3)))
        assert asked("Mon, 23 Nov 2026 12:00:09 GMT", moscow) == 9

    def test_without_a_clock_the_system_s_is_read(self) -> None:
        soon = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
        waited = retry_after({"retry-after": soon})
        assert waited is not None
        assert 0 <= waited <= 3600


texts = st.text() | st.text("0123456789 ,:-+GMTUCadefxnovNDMSu.\t", max_size=40)
dates = st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31)).map(
    lambda moment: moment.replace(tzinfo=UTC)
)


@given(value=texts, date=texts, now=dates | st.none())
@example(value="9" * 5_000, date="", now=None)
@example(value="Monday, 29-Feb-00 12:00:00 GMT", date="", now=datetime(1950, 1, 1, tzinfo=UTC))
def test_no_text_ever_does_harm(value: str, date: str, now: datetime | None) -> None:
    waited = retry_after({"retry-after": value, "date": date}, now)
    assert waited is None or 0 <= waited <= A_DAY


@given(now=dates, ahead=st.integers(-(10**6), 10**6))
def test_a_well_formed_date_is_the_distance_to_it(now: datetime, ahead: int) -> None:
    now = now.replace(microsecond=0)
    try:
        then = now + timedelta(seconds=ahead)
    except OverflowError:
        return
    expected = max(0, ahead) if ahead <= A_DAY else None
    assert asked(format_datetime(then, usegmt=True), now) == expected
