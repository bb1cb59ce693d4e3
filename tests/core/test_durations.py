"""How long looks take: what is assumed at first, and what is learned."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hoox_async import ImageAvatar, PromptAvatar
from hoox_async._core.polling.durations import PRIOR_MEDIAN, DurationModels, Durations, kind_of


def learned(median: float, sigma: float, looks: int, gap: float = 5.0, seed: int = 1) -> Durations:
    """Durations learned from looks that were polled every ``gap`` seconds."""
    rng, model = random.Random(seed), Durations()
    for _ in range(looks):
        took = rng.lognormvariate(math.log(median), sigma)
        asked = math.floor(took / gap) * gap
        model.observe(asked, asked + gap)
    return model


def test_a_median_of_40_seconds_is_assumed_before_any_observation() -> None:
    """Most looks are expected to take between a quarter of that and four times as long."""
    model = Durations()
    assert model.median == pytest.approx(PRIOR_MEDIAN)
    assert model.curve(10.0)[0] > 0.95
    assert model.curve(160.0)[0] < 0.05


@pytest.mark.parametrize("median", [15.0, 60.0, 120.0])
def test_medians_are_learned_quickly(median: float) -> None:
    """The median is within 25 % after thirty looks, and within 15 % after a hundred."""
    assert learned(median, 0.5, 30).median == pytest.approx(median, rel=0.25)
    model = learned(median, 0.5, 100)
    assert model.median == pytest.approx(median, rel=0.15)
    assert model.sigma == pytest.approx(0.5, rel=0.3)


def test_fixed_durations_give_a_narrow_spread() -> None:
    """Where all looks take 20 s, the median is within 10 % of that and the spread is small."""
    model = learned(20.0, 0.0, 60, gap=1.0)
    assert model.sigma < 0.2
    assert model.median == pytest.approx(20.0, rel=0.1)


def test_wide_intervals_are_learned_from() -> None:
    """A median of 15 s is found within 30 % from looks that were polled only every 20 s."""
    assert learned(15.0, 0.4, 60, gap=20.0).median == pytest.approx(15.0, rel=0.3)


def test_an_interval_that_holds_everything_teaches_nothing() -> None:
    """A look of days ago that is found done after a restart changes nothing."""
    model = learned(30.0, 0.5, 50)
    before = (model.median, model.sigma, model.observations)
    model.observe(0.0, 300_000.0)
    assert (model.median, model.sigma, model.observations) == before


def test_outliers_move_little() -> None:
    """A look that took an hour moves the median by a few percent."""
    model = learned(30.0, 0.5, 100)
    before = model.median
    model.observe(3600.0, 3610.0)
    assert before < model.median < 1.05 * before


def test_older_observations_fade() -> None:
    """When looks take three times as long from some point on, that is learned within 20 %."""
    model = learned(20.0, 0.4, 500)
    rng = random.Random(2)
    for _ in range(200):
        took = rng.lognormvariate(math.log(60.0), 0.4)
        model.observe(took - 2.0, took + 2.0)
    assert model.median == pytest.approx(60.0, rel=0.2)


@given(st.floats(0.1, 1e6), st.floats(0.1, 1e6))
def test_the_curve_falls_and_its_integral_grows(a: float, b: float) -> None:
    """The share that takes longer only falls and stays above zero; its integral only grows."""
    low, high = sorted((a, b))
    model = Durations()
    left_low, area_low = model.curve(low)
    left_high, area_high = model.curve(high)
    assert 1.0 >= left_low >= left_high > 0.0
    assert area_low - 1e-9 <= area_high <= area_low + (high - low) * left_low + 1e-6


@pytest.mark.parametrize("age", [1.0, 20.0, 60.0, 400.0])
def test_the_integral_is_that_of_the_curve(age: float) -> None:
    """The closed form of the integral agrees with numerical integration."""
    model, steps = Durations(), 4000
    total = sum(model.curve(age * (i + 0.5) / steps)[0] for i in range(steps)) * age / steps
    assert model.curve(age)[1] == pytest.approx(total, rel=1e-4)


def test_no_look_is_done_at_a_negative_age() -> None:
    """Clocks may disagree a little, so a look may seem to be accepted in the future."""
    assert Durations().curve(-2.0) == (1.0, -2.0)


@given(st.lists(st.tuples(st.floats(-10, 1e7), st.floats(-10, 1e7)), max_size=60))
def test_any_observation_leaves_finite_numbers(seen: list[tuple[float, float]]) -> None:
    """After any observations, also nonsensical ones, the numbers are finite and the spread is bounded."""
    model = Durations()
    for not_yet, done in seen:
        model.observe(not_yet, done)
    assert math.isfinite(model.mu)
    assert 0.1 <= model.sigma <= 1.2
    assert 0.0 < model.median < 1e8


def test_new_kinds_start_from_what_all_have_shown() -> None:
    """A new kind is expected to take as long as the others; then each kind learns for itself."""
    models = DurationModels()
    assert models.expected("edit") == pytest.approx(PRIOR_MEDIAN)
    edit = models.of("edit")
    for _ in range(60):
        models.observe(edit, 9.5, 10.5)
    assert models.of("edit") is edit
    assert models.expected("create") == pytest.approx(10.0, rel=0.2)
    create = models.of("create")
    for _ in range(60):
        models.observe(create, 59.0, 61.0)
    assert models.expected("create") == pytest.approx(60.0, rel=0.15)
    assert models.expected("edit") == pytest.approx(10.0, rel=0.1)


def test_looks_of_avatars_from_images_teach_nothing_about_other_kinds() -> None:
    """Avatars from images are expected at once, and do not change what is expected of generated looks."""
    models = DurationModels()
    kind = kind_of(ImageAvatar(["https://example.com/a.jpg"]))
    assert models.expected(kind) < 0.1
    for _ in range(60):
        models.observe(models.of(kind), 0.0, 0.1)
    assert models.expected(kind_of(PromptAvatar("a baker"))) == pytest.approx(PRIOR_MEDIAN)
