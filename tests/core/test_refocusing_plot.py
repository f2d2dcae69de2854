"""The gate's picture shows the keep weight where it belongs, over the voice."""

import numpy as np

from apoavatar_core.refocusing import Gate
from apoavatar_core.refocusing_plot import HEIGHT, KEEP, WAVE, WIDTH, drawn_numbers, plot_gate


def like(picture: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    return np.abs(picture.astype(int) - colour).sum(-1) < 60


def test_the_line_is_at_the_keep_weight_of_its_frame_and_bars_where_there_is_sound() -> None:
    keep = np.repeat(np.float32([0, 1, 0.25, 0.75]), 12)
    voice = np.zeros(2 * 16_000, np.float32)
    voice[16_000:24_000] = 0.01 * np.sign(np.sin(np.arange(8_000)))
    picture = plot_gate(voice, Gate(keep, keep, 1 - keep, 24.0))
    assert picture.shape == (HEIGHT, WIDTH, 3) and picture.dtype == np.uint8
    for quarter, weight in enumerate((0, 1, 0.25, 0.75)):
        column = like(picture, KEEP)[:, round((quarter + 0.5) * WIDTH / 4)]
        row = np.flatnonzero(column).mean()
        assert abs((HEIGHT - 8 - row) / (HEIGHT - 16) - weight) < 0.02
    bars = like(picture, WAVE).sum(0)
    assert bars[WIDTH // 2 + 2 : 3 * WIDTH // 4 - 2].min() > 0.8 * (HEIGHT - 16)
    assert bars[: WIDTH // 2 - 2].max() <= 4 and bars[3 * WIDTH // 4 + 2 :].max() <= 4


def test_of_a_long_clip_the_page_gets_every_so_many_th_value_as_it_is() -> None:
    keep = np.random.default_rng(0).random(10_000, np.float32)
    gate = Gate(keep, keep**2, 1 - keep, 25.0)
    drawn = drawn_numbers(np.ones(16_000, np.float32), gate, 0.4)
    step = drawn["step"]
    assert len(drawn["keep"]) == len(drawn["normalized"]) == len(range(0, 10_000, step)) <= 1024
    for place in (0, 1, 777, len(drawn["keep"]) - 1):
        assert abs(drawn["keep"][place] - keep[place * step]) < 1e-6
        assert abs(drawn["normalized"][place] - keep[place * step] ** 2) < 1e-6
    assert (drawn["frames"], drawn["fps"], drawn["beta"]) == (10_000, 25.0, 0.4)
