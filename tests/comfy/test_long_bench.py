"""The film that `dev.py bench long` measures, at its smallest."""

from __future__ import annotations

from pathlib import Path


def test_model_and_vae_are_timed_in_every_window(comfy) -> None:
    import folder_paths

    from benchmarks import long_film

    before = folder_paths.get_output_directory(), folder_paths.get_temp_directory()
    found = long_film.made(seconds=4.0, side=32, steps=1)
    assert found["frames"][:-1] == [49] * (len(found["frames"]) - 1) and len(found["frames"]) >= 2
    assert len(found["windows"]) == len(found["frames"]) and min(found["windows"]) > 0
    assert 0 < found["inside"] < found["seconds"] and sum(found["windows"]) <= found["seconds"]
    assert found["peak_ram"] > 2**27
    assert (folder_paths.get_output_directory(), folder_paths.get_temp_directory()) == before
    assert not list(Path(before[1]).glob("apoavatar_long_video_*"))
