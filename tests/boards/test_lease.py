"""The lease against a model written from design.md, section 7."""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from hal import icd
from tests.boards.harness import COMPUTE_NODE, NODE_CONFIG, Board, events, one

FLOOR, LARGEST = NODE_CONFIG["floor_mw"], NODE_CONFIG["max_mw"]


class LeaseModel(RuleBasedStateMachine):
    """A node that is idle, its board and the model side by side."""

    @initialize()
    def begin(self) -> None:
        self.board = Board(COMPUTE_NODE)
        assert self.board.command("node_config", **NODE_CONFIG) == 0
        self.taken: tuple[int, int] | None = None
        self.cap, self.expiry, self.clock = FLOOR, 0, 0
        self.in_force = False
        self.rejected = self.expiries = 0
        self.session = 1  # the configuration's
        self.beat = 0
        self.step()
        assert self.board.command("node_power", on=1) == 0
        for _ in range(3):
            self.step()
        self.tlm = one(self.step(), "node_tlm").fields

    def step(self) -> list:
        self.beat += 1
        sensors = {"accel_state": icd.NodeState.IDLE, "heartbeat": self.beat, "mean_ma": 1000}
        return self.board.tick(**sensors)

    @rule(
        session=st.integers(0, 4),
        seq=st.integers(0, 6),
        cap=st.integers(0, 1_000_000),
        ttl=st.integers(-200_000, 700_000),
        clock=st.sampled_from([0, 900, 1980, 2500]),
    )
    def lease(self, session: int, seq: int, cap: int, ttl: int, clock: int) -> None:
        expiry = max(self.board.t_us + ttl, 0)
        self.board.send("lease", session=session, lease_seq=seq, cap_mw=cap, expiry_us=expiry, clock_mhz=clock)
        if self.taken == (session, seq):
            return
        older = self.taken is not None and (session, seq) < self.taken
        if older or session < max(self.session, 1) or expiry <= self.board.t_us:
            self.rejected += 1
            return
        self.taken, self.session = (session, seq), session
        self.cap, self.expiry, self.clock, self.in_force = min(cap, LARGEST), expiry, clock, True

    @rule(session=st.integers(1, 4))
    def command_of_a_session(self, session: int) -> None:
        """A command also shows which session flight is in."""
        self.board.command_seq += 1
        fields = {"session": session, "command_seq": self.board.command_seq, "on": 1}
        (ack,) = self.board.send("node_power", **fields)
        assert (ack.fields["code"] == icd.AckCode.STALE_SESSION) == (session < self.session)
        assert ack.fields["session"] == max(session, self.session)
        self.session = max(session, self.session)

    @rule(steps=st.integers(1, 4))
    def time_passes(self, steps: int) -> None:
        for _ in range(steps):
            frames = self.step()
            expired = self.in_force and self.board.t_us >= self.expiry
            if expired:
                self.in_force = False
                self.expiries += 1
            said = [event for event in events(frames) if event[0] == "node_lease_expired"]
            assert len(said) == expired
            done = one(frames, "done_node").fields
            assert done["cap_mw"] == (self.cap if self.in_force else FLOOR)
            locked = self.in_force and 0 < self.clock < NODE_CONFIG["clock_max_mhz"]
            assert done["clock_mhz"] == (self.clock if locked else 0)
            for frame in frames:
                if frame.name == "node_tlm":
                    self.tlm = frame.fields
                if frame.name == "node_health":
                    assert frame.fields["leases_rejected"] == self.rejected
                    assert frame.fields["lease_expiries"] == self.expiries
            assert (self.tlm["lease_session"], self.tlm["lease_seq"]) == (self.taken or (0, 0))
            expired_flag = bool(self.tlm["flags"] & icd.NodeFlag.LEASE_EXPIRED)
            assert expired_flag == (self.taken is not None and not self.in_force)

    @invariant()
    def cap_is_never_above_the_largest(self) -> None:
        if hasattr(self, "tlm"):
            assert self.tlm["cap_mw"] <= LARGEST


TestLease = LeaseModel.TestCase


def test_no_lease_before_a_configuration():
    board = Board(COMPUTE_NODE)
    board.send("lease", session=1, lease_seq=1, cap_mw=500_000, expiry_us=10_000_000, clock_mhz=0)
    frames = board.tick(accel_state=icd.NodeState.OFF)
    assert one(frames, "done_node").fields["cap_mw"] == 0
    assert one(frames, "node_tlm").fields["flags"] & icd.NodeFlag.UNCONFIGURED
