import pytest

from bench.encode import ceiling
from bench.encode.ceiling import CeilingWay, Dimensions, Rate, best_rates, tokens_per_second
from bench.encode.compare import median_rates

BASE = Dimensions(layers=12, hidden=768, intermediate=3072)


def test_linear_layers_cost_two_operations_a_weight():
    weights = 12 * (4 * 768 * 768 + 2 * 768 * 3072)
    assert BASE.linear_flops() == 2 * weights == 169_869_312


def test_attention_costs_more_in_longer_texts():
    assert BASE.attention_flops(100) == 12 * 4 * 100 * 768
    assert BASE.flops([100, 512]) == 100 * (169_869_312 + 3_686_400) + 512 * (169_869_312 + 18_874_368)


def test_a_rate_becomes_tokens_by_the_real_lengths():
    assert tokens_per_second(1e12, BASE, [230]) == pytest.approx(1e12 / (169_869_312 + 12 * 4 * 230 * 768))
    long, short = tokens_per_second(1e12, BASE, [512]), tokens_per_second(1e12, BASE, [12])
    assert long < tokens_per_second(1e12, BASE, [512, 12]) < short


def test_the_best_operator_counts_and_the_median_over_rounds():
    rates = [
        Rate("bf16", "mm", 512, 5.0),
        Rate("bf16", "linear", 512, 7.0),
        Rate("bf16", "linear", 1024, 6.0),
        Rate("fp32", "mm", 512, 2.0),
    ]
    assert best_rates(rates) == {"bf16": 7.0, "fp32": 2.0}
    assert best_rates([]) == {}
    assert median_rates([{"bf16": 7.0}, {"bf16": 9.0}, {"bf16": 1.0}]) == {"bf16": 7.0}
    assert median_rates([]) == {}


def test_products_are_measured_in_every_precision_or_a_reason_is_given(monkeypatch):
    monkeypatch.setattr(ceiling, "_BURST_S", {"cpu": 0.001})
    monkeypatch.setattr(ceiling, "_ROWS", {"cpu": (16,)})
    found = CeilingWay("cpu").measure([(32, 96), (32, 32)])
    rates = [Rate(**rate) for rate in found["rates"]]
    assert {(rate.kernel, rate.rows) for rate in rates if rate.precision == "fp32"} >= {("mm", 16)}
    assert all(rate.flops_per_second > 0 for rate in rates)
    told = {rate.precision for rate in rates} | {name.split()[0] for name in found["failed"]}
    assert told == {"fp32", "bf16", "int8"}


def test_a_layers_products_count_by_their_operations(monkeypatch):
    seconds = iter([1.0, 9.0, 2.0, 5.0, 4.0, 4.0])  # three bursts each: medians 2 and 4
    monkeypatch.setattr(CeilingWay, "_seconds", lambda self, product: next(seconds))
    monkeypatch.setattr(ceiling, "_ROWS", {"cpu": (10,)})
    (rate,) = CeilingWay("cpu")._measure("fp32", "mm", lambda m, k, n: list, [(3, 5), (5, 7)])
    assert rate == Rate("fp32", "mm", 10, 2 * 10 * (15 + 35) / 6.0)
