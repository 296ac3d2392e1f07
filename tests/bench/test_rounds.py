from scripts.benchmarks.meter import Used
from scripts.benchmarks.rounds import Round, client_share, compared, figures, percentile, rate, ratio


def test_a_rate_is_the_median_round_and_a_ratio_the_median_pair() -> None:
    ours = [Round(1.0, [0.1] * count, Used()) for count in (10, 30, 20)]
    theirs = [Round(1.0, [0.1] * count, Used()) for count in (10, 10, 5)]
    assert rate(ours) == 20
    assert ratio(ours, theirs) == 3


def test_a_percentile_is_a_value_that_was_measured() -> None:
    values = [float(number) for number in range(100, 0, -1)]
    assert percentile(values, 0.5) == 51
    assert percentile(values, 0.99) == 100
    assert percentile([7.0], 0.99) == 7


def test_what_was_used_adds_up() -> None:
    used = Used(2.0, 1.0, 300, 30, 0.5) - Used(1.0, 0.5, 100, 10, 0.25)
    assert used == Used(1.0, 0.5, 200, 20, 0.25)
    assert used + used == Used(2.0, 1.0, 400, 40, 0.5)


def test_figures_are_of_one_operation_over_all_rounds() -> None:
    rounds = [Round(1.0, [0.001] * 50, Used(0.2, 0.1, 500, 0, 0.05)), Round(1.0, [0.003] * 50, Used(0.2, 0.1, 500, 0))]
    found = figures(rounds, statements=1.5)
    assert (found.p50, found.p99, found.p999) == (3.0, 3.0, 3.0)
    assert (found.cpu_python_ms, found.cpu_postgres_ms, found.cpu_client_ms) == (4.0, 2.0, 0.5)
    assert (found.statements, found.wal_bytes) == (1.5, 10.0)


def test_the_client_is_left_out_where_it_is_the_process_that_serves() -> None:
    rounds = [Round(1.0, [0.001], Used(0.2, 0.1, 500, 0))]
    assert figures(rounds).cpu_client_ms is None
    assert client_share(rounds) == ""


def test_a_comparison_says_how_much_of_the_machine_the_client_took() -> None:
    ours, theirs = [Round(2.0, [0.1] * 20, Used(client=0.5))], [Round(2.0, [0.1] * 10, Used())]
    row = compared("x", "orders/s", ours, theirs, statements=(1.0, 2.0), conditions="quiet")
    assert (row.value, row.baseline, row.ratio) == (10.0, 5.0, 2.0)
    assert row.conditions == "quiet; the client took 25% of a core"
    assert row.operation is not None
    assert row.plain is not None
    assert (row.operation.statements, row.plain.statements) == (1.0, 2.0)
