from ultramarket.supervisor.backoff import delay


def test_the_delay_doubles_from_a_fifth_of_a_second_to_ten_seconds() -> None:
    longest = [delay(restarts, lambda: 1.0) for restarts in range(8)]
    assert longest == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0]
    assert delay(10_000, lambda: 1.0) == 10.0


def test_half_of_a_delay_is_by_chance() -> None:
    assert delay(3, lambda: 0.0) == 0.8
    assert delay(3, lambda: 1.0) == 1.6
