"""Where the satellite is and when it is dark, against skyfield and the published values."""

from __future__ import annotations

import json
import math
from importlib.resources import as_file, files

import numpy as np
import pytest
from sgp4.exporter import export_omm
from skyfield.api import EarthSatellite, load, load_file

from hal import orbit as orbits
from hal._native import ffi, lib
from hal.errors import RigError
from hal.rig import ORBITS, Orbit
from tests.plant.support import SENTINEL, Bench, dawn_dusk, half_disc_spans, satellite

STRESS = Orbit(altitude_km=550, inclination_deg=30, ltan_h=12, epoch="2027-03-21T00:00:00Z")


@pytest.fixture(scope="module")
def sky():
    # By its path: the package warns of its Earth-orientation file's age, which nothing here reads.
    with as_file(files("skyfield_data") / "data" / "de421.bsp") as path:
        ephemeris = load_file(str(path))
        yield load.timescale(), ephemeris
        ephemeris.close()


def skyfield_spans(sky, orbit: Orbit, span_s: float, step_s: float = 5.0) -> list[tuple[float, float]]:
    """Shadow passages by skyfield's frames and JPL's DE421."""
    timescale, ephemeris = sky
    elements = orbits.elements_of(orbit)
    craft = EarthSatellite.from_satrec(elements.satrec, timescale)
    t_s = np.arange(0, span_s, step_s)
    times = timescale.ut1_jd(elements.jd + elements.fraction + t_s / 86_400)
    r_km = craft.at(times).position.km.T
    sun_km = (ephemeris["earth"].at(times).observe(ephemeris["sun"]).apparent()).position.km.T
    return half_disc_spans(t_s, r_km, sun_km)


def flown_spans(orbit: Orbit, span_s: float) -> list[tuple[float, float]]:
    """Shadow passages as the plant counts them, second by second."""
    bench = Bench(satellite("desk"), orbit)
    spans: list[tuple[float, float]] = []
    begin = None
    for _ in range(round(span_s)):
        bench.plant.step(1_000_000)
        dark = bench.truth.sun_fraction < 0.5
        if dark and begin is None:
            begin = bench.truth.t_s
        if not dark and begin is not None:
            spans.append((begin, bench.truth.t_s - begin))
            begin = None
    return spans


def worst_day(altitude_km: float) -> tuple[str, float]:
    """The epoch, on the day of the year with the longest shadow, and the share of the orbit in it (cylinder, beta)."""
    elements = orbits.elements_of(dawn_dusk(altitude_km, "2027-01-01T00:00:00Z"))
    t_s = np.arange(365) * 86_400.0
    rows = elements.rows(t_s)
    normal = np.cross(rows[:, 0:3], rows[:, 3:6])
    normal /= np.linalg.norm(normal, axis=1)[:, None]
    sun = rows[:, 6:9] / np.linalg.norm(rows[:, 6:9], axis=1)[:, None]
    beta = np.arcsin(np.abs((normal * sun).sum(axis=1)))
    radius = orbits.EARTH_KM + altitude_km
    reach = math.sqrt(altitude_km**2 + 2 * orbits.EARTH_KM * altitude_km) / radius
    share = np.arccos(np.clip(reach / np.cos(beta), -1, 1)) / math.pi
    day = int(np.argmax(share))
    date = np.datetime64("2027-01-01") + np.timedelta64(day, "D")
    return f"{date}T00:00:00Z", float(share[day])


def test_sentinel_1a_matches_its_published_check_value():
    (begin, duration), *_ = flown_spans(SENTINEL, 5_921)
    assert begin == pytest.approx(3_893, abs=2)
    assert duration == pytest.approx(1_033.5, abs=2)


def test_eclipse_seconds_of_one_orbit_at_ten_ticks_a_second():
    bench = Bench(satellite("desk"))
    bench.run(bench.plant.elements.period_s)
    assert bench.truth.eclipse_s == pytest.approx(1_033.5, abs=1)


@pytest.mark.parametrize(
    ("orbit", "name"),
    [(SENTINEL, "sentinel-1a"), (dawn_dusk(600, "2027-06-18T00:00:00Z"), "600 km"), (STRESS, "550 km at 30 deg")],
    ids=lambda x: x if isinstance(x, str) else "",
)
def test_shadow_passages_agree_with_skyfield(sky, orbit, name):
    span_s = 3.2 * orbits.elements_of(orbit).period_s
    expected = skyfield_spans(sky, orbit, span_s)
    flown = flown_spans(orbit, span_s)
    assert len(flown) == len(expected) >= 2
    for (begin, duration), (begin_sky, duration_sky) in zip(flown, expected, strict=True):
        assert begin == pytest.approx(begin_sky, abs=5)
        assert duration == pytest.approx(duration_sky, abs=5)


def test_600_km_dawn_dusk_worst_eclipse_of_the_year(sky):
    epoch, share = worst_day(600)
    orbit = dawn_dusk(600, epoch)
    period_s = orbits.elements_of(orbit).period_s
    assert period_s / 60 == pytest.approx(96.7, abs=0.1)
    assert share * period_s / 60 == pytest.approx(20.7, abs=0.15)
    duration = max(d for _, d in flown_spans(orbit, 2.2 * period_s))
    assert duration == pytest.approx(20.7 * 60, abs=10)
    assert duration == pytest.approx(max(d for _, d in skyfield_spans(sky, orbit, 2.2 * period_s)), abs=10)


def test_1400_km_dawn_dusk_has_no_eclipse_in_the_year():
    _, share = worst_day(1400)
    assert share == 0
    elements = orbits.elements_of(dawn_dusk(1400, "2027-01-01T00:00:00Z"))
    for month in range(12):  # and by the plant's own disc, a day in each month around both solstices and equinoxes
        rows = elements.rows(month * 30.4 * 86_400 + np.arange(0, 7_000, 60.0))
        for row in rows:
            r, sun = ffi.new("double[3]", list(row[0:3])), ffi.new("double[3]", list(row[6:9]))
            assert lib.plant_sun_fraction(r, sun) > 0.5


def test_550_km_at_30_degrees_spends_more_than_a_third_in_shadow():
    period_s = orbits.elements_of(STRESS).period_s
    assert period_s / 60 == pytest.approx(95.6, abs=0.15)
    durations = [d for _, d in flown_spans(STRESS, 2.6 * period_s)]
    assert max(durations) == pytest.approx(35.6 * 60, abs=10)


def test_sun_is_where_jpl_says(sky):
    timescale, ephemeris = sky
    days = np.arange(9_500, 10_500, 7.0)
    times = timescale.ut1_jd(orbits.J2000_JD + days)
    astrometric = ephemeris["earth"].at(times).observe(ephemeris["sun"]).apparent()
    ra, dec, distance = astrometric.radec(epoch="date")
    ours = orbits.sun_position_km(days)
    theirs = np.stack(
        [np.cos(dec.radians) * np.cos(ra.radians), np.cos(dec.radians) * np.sin(ra.radians), np.sin(dec.radians)],
        axis=1,
    )
    unit = ours / np.linalg.norm(ours, axis=1)[:, None]
    assert np.degrees(np.arccos((unit * theirs).sum(axis=1))).max() < 0.015
    assert np.abs(np.linalg.norm(ours, axis=1) / distance.km - 1).max() < 2e-4


def test_flux_follows_the_distance_over_the_year():
    bench = Bench(satellite("desk"), dawn_dusk(1400, "2027-01-03T00:00:00Z"))
    bench.run(1, dt_s=1)
    january = bench.truth.flux_w_m2
    bench = Bench(satellite("desk"), dawn_dusk(1400, "2027-07-04T00:00:00Z"))
    bench.run(1, dt_s=1)
    assert (january, bench.truth.flux_w_m2) == (pytest.approx(1_408, abs=1), pytest.approx(1_316.5, abs=1))


def test_hermite_between_rows_is_as_good_as_sgp4():
    bench = Bench(satellite("desk"))
    bench.run(50.5, dt_s=0.5)
    row = bench.plant.elements.rows(np.array([bench.truth.t_s]))[0]
    assert np.abs(np.array(list(bench.truth.r_km)) - row[0:3]).max() < 1e-4


@pytest.mark.parametrize("altitude_km", [500, 600, 650, 800, 1000])
def test_edge_on_view_factor(altitude_km):
    published = {500: 0.267, 600: 0.249, 650: 0.241, 800: 0.219, 1000: 0.194}[altitude_km]
    assert lib.plant_edge_view_factor(orbits.EARTH_KM + altitude_km) == pytest.approx(published, abs=0.0006)


def disc_seen(separation: float, earth: float, sun: float) -> float:
    """Share of the Sun's disc outside the Earth's, by counting points of a fine grid on the disc."""
    x, y = np.meshgrid(np.linspace(-1, 1, 1501), np.linspace(-1, 1, 1501))
    inside = x**2 + y**2 <= 1
    hidden = inside & ((x * sun + separation) ** 2 + (y * sun) ** 2 < earth**2)
    return 1 - hidden.sum() / inside.sum()


@pytest.mark.parametrize("depth", [-0.9, -0.5, -0.1, 0.0, 0.2, 0.6, 0.95])
def test_penumbra_is_the_overlap_of_two_discs(depth):
    r, distance = orbits.EARTH_KM + 600, orbits.AU_KM
    earth, sun = math.asin(orbits.EARTH_KM / r), math.asin(696_000 / distance)
    angle = earth + depth * sun  # from the Earth's centre to the Sun's, as seen from the satellite
    r_km = (-r, 0.0, 0.0)
    sun_km = (r_km[0] + distance * math.cos(angle), distance * math.sin(angle), 0.0)
    fraction = lib.plant_sun_fraction(ffi.new("double[3]", r_km), ffi.new("double[3]", sun_km))
    assert fraction == pytest.approx(disc_seen(angle, earth, sun), abs=2e-3)


def test_table_is_extended_while_the_flight_runs_on():
    bench = Bench(satellite("desk"))
    bench.run(30_000, dt_s=10)
    row = bench.plant.elements.rows(np.array([bench.truth.t_s]))[0]
    assert np.abs(np.array(list(bench.truth.r_km)) - row[0:3]).max() < 1e-4


def test_a_step_past_the_table_is_refused_and_changes_nothing():
    bench = Bench(satellite("desk"))
    bench.plant._orbit.rows = 2
    bench.plant._orbit.t0_s = -39.0
    bench.plant.ensure = lambda _: None  # type: ignore[method-assign]
    before = bench.truth.t_s, bench.truth.soc
    assert lib.plant_step(bench.plant.pointer, 10_000_000) == lib.PLANT_ERR_ORBIT
    assert (bench.truth.t_s, bench.truth.soc) == before
    assert lib.plant_step(bench.plant.pointer, 0) == lib.PLANT_ERR_DT
    assert lib.plant_step(bench.plant.pointer, lib.PLANT_MAX_DT_US + 1) == lib.PLANT_ERR_DT


@pytest.mark.parametrize("suffix", ["json", "csv", "xml"])
def test_an_omm_gives_the_same_orbit(tmp_path, suffix):
    fields = export_omm(orbits.elements_of(SENTINEL).satrec, "SENTINEL-1A")
    path = tmp_path / f"orbit.{suffix}"
    if suffix == "json":
        path.write_text(json.dumps([fields], default=str))
    elif suffix == "csv":
        path.write_text(",".join(fields) + "\n" + ",".join(str(v) for v in fields.values()) + "\n")
    else:
        body = "".join(f"<{k}>{v}</{k}>" for k, v in fields.items())
        inner = f"<metadata></metadata><data><meanElements>{body}</meanElements><tleParameters></tleParameters></data>"
        path.write_text(f"<ndm><omm><body><segment>{inner}</segment></body></omm></ndm>")
    t_s = np.arange(0, 6_000, 500.0)
    ours, theirs = (orbits.elements_of(o).rows(t_s) for o in (Orbit(tle=str(path)), SENTINEL))
    assert np.abs(ours[:, 0:3] - theirs[:, 0:3]).max() < 0.01


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.replace("197.1820", "197.1830"), "checksum"),
        (lambda t: t.splitlines()[1], "expected a two-line element set"),
        (lambda t: t.replace("98.1787", "98.178 "), "checksum"),
        (lambda t: t.replace("\n2 39634", "\n3 39634"), "begin '2 '"),
    ],
)
def test_a_damaged_element_set_is_refused(tmp_path, change, message):
    path = tmp_path / "bad.tle"
    path.write_text(change((ORBITS / "sentinel-1a.tle").read_text()))
    with pytest.raises(RigError, match=message):
        orbits.elements_of(Orbit(tle=str(path)))


@pytest.mark.parametrize("text", ["{}", "[]", "not json"])
def test_a_damaged_omm_is_refused(tmp_path, text):
    path = tmp_path / "bad.json"
    path.write_text(text)
    with pytest.raises(RigError, match="mean-elements message"):
        orbits.elements_of(Orbit(tle=str(path)))


@pytest.mark.parametrize("altitude_km", [400, 600, 1400])
def test_a_computed_orbit_has_the_altitude_and_the_local_time_asked_for(altitude_km):
    elements = orbits.elements_of(dawn_dusk(altitude_km, "2027-03-21T06:00:00Z"))
    rows = elements.rows(np.linspace(0, elements.period_s, 400))
    assert np.linalg.norm(rows[:, 0:3], axis=1).mean() - orbits.EARTH_KM == pytest.approx(altitude_km, abs=0.3)
    year = elements.rows(np.array([0.0, 182.6, 365.2422]) * 86_400)
    node = np.degrees(
        np.arctan2(np.cross(year[:, 0:3], year[:, 3:6])[:, 0], -np.cross(year[:, 0:3], year[:, 3:6])[:, 1])
    )
    turned = (np.diff(node) + 180) % 360 - 180
    assert np.abs(np.abs(turned) - 180).max() < 3  # half a turn in half a year: sun-synchronous
