"""The demo: one orbit of a compute satellite, commanded over its radio.

Waits for NOMINAL, switches every node on, submits jobs of the three workload classes, rides through the eclipse and
collects the results. It is an ordinary script; run it with `ground run demo --watch --report out/demo.html`.
"""

from collections.abc import Callable, Iterable

from ground import JobState, LinkError, Mode, Sample, Station, words

BOOT_WITHIN_S = 900.0  # of all nodes, a few at a time
ORBIT_S = 5924.0
ECLIPSE_WITHIN_S = 1300.0
SURE_S = 20.0
# Job id, class, priority, work in units, checkpoint period in s.
JOBS = [
    (1, "training", 5, 4000, 60),
    (2, "training", 5, 4000, 60),
    (3, "training", 4, 3600, 60),
    (4, "training", 4, 3600, 60),
    (5, "training", 3, 2700, 60),
    (6, "training", 3, 2700, 60),
    (7, "prefill", 6, 1800, 30),
    (8, "prefill", 6, 1800, 30),
    (9, "prefill", 5, 2200, 30),
    (10, "prefill", 5, 2200, 30),
    (11, "prefill", 4, 2600, 30),
    (12, "prefill", 4, 2600, 30),
    (13, "decode", 7, 2400, 30),
    (14, "decode", 7, 2400, 30),
    (15, "decode", 6, 3000, 30),
    (16, "decode", 6, 3000, 30),
    (17, "decode", 5, 3600, 30),
    (18, "decode", 5, 3600, 30),
    (19, "training", 2, 1800, 60),
    (20, "training", 2, 1800, 60),
    (21, "prefill", 2, 1500, 30),
    (22, "prefill", 2, 1500, 30),
    (23, "prefill", 2, 1300, 30),
    (24, "decode", 2, 1500, 30),
    (25, "decode", 2, 1500, 30),
    (26, "decode", 2, 1500, 30),
    (27, "training", 1, 600, 60),
    (28, "training", 1, 600, 60),
    (29, "prefill", 1, 700, 30),
    (30, "prefill", 1, 700, 30),
    (31, "decode", 1, 600, 30),
    (32, "decode", 1, 600, 30),
]


def main(station: Station, arguments: list[str]) -> int:
    """Flies the demo; returns 0 when every command was carried out."""
    del arguments
    station.wait("hk_flight", lambda s: s.mode == Mode.NOMINAL, within=300)
    say(station, "NOMINAL: switching every node on")
    nodes_on = station.send("node_on", node="all").started(within=30)

    for job_id, workload, priority, work, checkpoint_s in JOBS:
        station.send(
            "job_submit",
            job_id=job_id,
            workload=workload,
            priority=priority,
            work_mu=work * 1000,
            checkpoint_s=checkpoint_s,
        ).accepted(within=60)
    say(station, f"{len(JOBS)} jobs of three classes are in the on-board queue")
    nodes_on.completed(within=BOOT_WITHIN_S)
    on = sum(node.wanted for node in station.nodes)
    say(station, f"{on} nodes are up, {state_count(station.jobs.values(), JobState.RUNNING)} jobs are running")

    ride_through_eclipse(station)
    collect(station)
    return summary(station)


def ride_through_eclipse(station: Station) -> None:
    """Waits for the shadow and for the Sun after it; says what the battery gave."""
    before = station.wait("hk_power", within=60)
    if before.sunlit:
        say(station, f"sunlit, battery {before.soc_cpct / 100:.0f} %: flying towards the eclipse")
        before = lasting(station, lambda s: not s.sunlit, within=ORBIT_S)
    say(station, f"eclipse: on the battery, {before.soc_cpct / 100:.0f} % charged")
    after = lasting(station, lambda s: bool(s.sunlit), within=ECLIPSE_WITHIN_S)
    say(station, f"sunrise after {after.t_s - before.t_s:.0f} s, battery {after.soc_cpct / 100:.0f} %")


def lasting(station: Station, condition: Callable[[Sample], bool], *, within: float) -> Sample:
    """Waits until a condition of hk_power has held for SURE_S; returns the sample with which it began.

    In the last seconds of the penumbra the satellite may change its mind about the Sun.
    """
    first: list[Sample] = []

    def held(sample: Sample) -> bool:
        if not condition(sample):
            first.clear()
            return False
        first.append(sample)
        return sample.t_s - first[0].t_s >= SURE_S

    station.wait("hk_power", held, within=within)
    return first[0]


def collect(station: Station) -> None:
    """Waits until every job has ended, then until the orbit, or before it the flight, is over."""

    def ended(_: Sample) -> bool:
        return len(station.jobs) >= len(JOBS) and all(job.state >= JobState.DONE for job in station.jobs.values())

    try:
        station.wait("hk_jobs", ended, within=ORBIT_S)
        say(station, "every job has ended")
        station.until(ORBIT_S)
    except LinkError:
        say(station, "the flight is over")


def summary(station: Station) -> int:
    """Prints what the orbit delivered."""
    jobs = station.jobs.values()
    work = station.telemetry["hk_jobs"].work_mu / 1e6
    failed = [c for c in station.commands if c.reason != "none"]
    power = station.telemetry["hk_power"]
    print()
    print(f"  {'class':9s} {'done':>5s} {'running':>8s} {'work':>9s}")
    for number, workload in ((1, "training"), (2, "prefill"), (3, "decode")):
        mine = [job for job in jobs if job.workload == number]
        done, running = state_count(mine, JobState.DONE), state_count(mine, JobState.RUNNING)
        print(f"  {workload:9s} {done:5d} {running:8d} {sum(j.progress_mu for j in mine) / 1e6:8.1f}k")
    print(
        f"  {'together':9s} {state_count(jobs, JobState.DONE):5d} {state_count(jobs, JobState.RUNNING):8d} {work:8.1f}k"
    )
    print(f"  battery {power.soc_cpct / 100:.0f} %, {len(station.commands)} commands, {len(failed)} failed")
    return 1 if failed else 0


def state_count(jobs: Iterable[Sample], state: JobState) -> int:
    """How many of these jobs are in a state."""
    return sum(job.state == state for job in jobs)


def say(station: Station, text: str) -> None:
    """Prints a line with the simulated time."""
    print(f"{words.clock(station.t_s)}  {text}", flush=True)
