"""`dev.py bench page`: what it measures is there and right. How fast a machine is, no test says."""
import pytest

from benchmarks import page
from devtools.browser import path_of_chromium

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def test_a_curve_follows_every_dial_in_both_renderers(comfy_server):
    if path_of_chromium() is None:
        pytest.skip("no Chromium is installed: apt install chromium")
    findings = page.measure(comfy_server, minutes=0.1, moves=2)
    titles = [finding.group for finding in findings]
    assert len({*titles}) == 4 and len(titles) == 4 * (len(page.PARTS) + 5)
    # A server that has little to do may do it within one tick of the clock that counts the processor's time.
    assert all(finding.value > 0 or finding.title.endswith("server") for finding in findings)
    for group in {*titles}:
        of_group = {finding.title: finding for finding in findings if finding.group == group}
        (curves,) = [title for title in of_group if title.endswith(" curves")]
        assert int(curves.split()[0]) >= len(page.DIALS)
        assert all(of_group[curves].high >= of_group[part].low for part in page.PARTS)


def test_a_curve_is_as_old_as_the_value_that_it_shows():
    """The first of two equal values is not the one that was asked for."""
    seen = {
        "values": [[0, 0.5], [100, 0.6], [120, 0.5], [140, 0.7]],
        "answers": [[110, 150, 0.6], [160, 200, 0.7], [210, 220, 0.5]],
        "drawn": [[155, 170], [201, 230], [221, 250]],
    }
    assert page.times(seen) == [(100, 110, 150, 155, 170), (140, 160, 200, 201, 230), (120, 210, 220, 221, 250)]
