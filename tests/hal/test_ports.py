"""Ports: found by what they are, had alone, and named when they cannot be had."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import serial

from hal import ports
from hal.backends import hardware
from hal.backends.terminal import open_free_port, open_port
from hal.errors import LinkError, PortError
from hal.link import open_link
from hal.ports import Holder, System
from hal.probe import Probe
from tests.hal.desk import Desk, FakeBoard, node

ONE, TWO = bytes(range(12)), bytes(range(12, 24))


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    desk = Desk(tmp_path / "machine")
    monkeypatch.setattr(ports, "HOST", desk.system)
    monkeypatch.setattr(hardware, "_found_at", {})
    yield desk
    desk.close()


# ---------------------------------------------------------------- listing
def test_ports_on_usb_are_listed_with_what_they_are(desk: Desk) -> None:
    desk.plug(None, "ttyUSB10", serial="FT1", usb_id=(0x0403, 0x6011), product="Quad", interface=3, latency_ms=16)
    desk.plug(None, "ttyUSB9", serial="", usb_id=(0x1A86, 0x7523), product="USB Serial", interface=0)
    desk.plug(None)
    (desk.root / "sys/class/tty/tty0").mkdir()
    stlink, ch340, quad = desk.system.ports()
    assert (stlink.name, stlink.serial_number, stlink.usb_id, stlink.interface, stlink.driver) == (
        "ttyACM0", "066DFF54", (0x0483, 0x374B), 2, "cdc_acm",
    )  # fmt: skip
    assert str(stlink) == f"{desk.root}/dev/ttyACM0 (STM32 STLink, 0483:374b, cdc_acm)"
    assert (ch340.name, ch340.serial_number, quad.name, quad.interface) == ("ttyUSB9", "", "ttyUSB10", 3)
    assert (desk.system.latency_ms(quad), desk.system.latency_ms(stlink)) == (16, None)
    assert desk.system.port_of(quad.device) == quad


def test_a_machine_without_any_is_no_error(tmp_path: Path) -> None:
    system = System(tmp_path)
    assert (system.ports(), system.holders("/dev/null"), system.running("brltty")) == ([], [], None)


def test_this_machine_can_be_read() -> None:
    assert System().running(Path("/proc/1/comm").read_text().strip()) is not None
    assert all(port.device.startswith("/dev/") for port in System().ports())


# ---------------------------------------------------------------- finding
def open_url(url: str) -> Any:
    return open_link(url, node(3))


def test_a_board_is_found_by_the_serial_number_of_its_adapter(desk: Desk) -> None:
    desk.plug(FakeBoard(node(1)), "ttyACM0", serial="AAA")
    desk.plug(FakeBoard(node(3)), "ttyACM1", serial="BBB")
    link = open_url("serial:BBB?baud=115200")
    hello = Probe(link).hello(1)
    assert hello is not None
    assert hello.role == 259
    link.close()


def test_one_of_several_ports_of_an_adapter(desk: Desk) -> None:
    for i in range(2):
        desk.plug(FakeBoard(node(i)), f"ttyUSB{i}", serial="FT", usb_id=(0x0403, 0x6010), interface=i)
    with pytest.raises(
        PortError, match=r"2 ports have this serial number, expected one: add interface=0 or interface=1"
    ):
        open_url("serial:FT")
    link = open_url("serial:FT?interface=1")
    hello = Probe(link).hello(1)
    assert hello is not None
    assert hello.role == 257
    link.close()
    with pytest.raises(PortError, match=r"no port with this USB serial number and interface 2 .*\(there are: FT\)"):
        open_url("serial:FT?interface=2")


@pytest.mark.parametrize("known", [False, True])
def test_a_board_is_found_by_its_own_id_on_whatever_port(desk: Desk, known: bool) -> None:
    """Silent ports, other boards, and ports of others are no hindrance; all but the right one are free again."""
    wanted = FakeBoard(node(3), hardware_id=ONE)
    desk.plug(FakeBoard(None), "ttyACM0", serial="")
    desk.plug(FakeBoard(node(2), hardware_id=TWO), "ttyACM1", serial="")
    desk.plug(wanted, "ttyUSB0", serial="", usb_id=(0x1234, 0x5678))
    held = FakeBoard(node(4))
    desk.run("minicom", 4242, holds=desk.plug(held, "ttyUSB1", serial=""))
    for _ in range(1 + known):
        link = open_url(f"hardware:{ONE.hex()}")
        hello = Probe(link).hello(1)
        assert hello is not None
        assert hello.hardware_id == ONE
        open_url(f"serial:{desk.root}/dev/ttyACM1").close()
        with pytest.raises(PortError, match="is busy"):
            open_url(f"serial:{desk.root}/dev/ttyUSB0")
        link.close()
    assert held.bytes_heard == b""


def test_a_board_that_is_plugged_in_elsewhere_is_found_there(desk: Desk) -> None:
    wanted, other = FakeBoard(node(3), hardware_id=ONE), FakeBoard(node(2), hardware_id=TWO)
    desk.plug(wanted, "ttyACM0")
    open_url(f"hardware:{ONE.hex()}").close()
    desk.unplug("ttyACM0")
    desk.plug(other, "ttyACM1")
    desk.plug(wanted, "ttyACM2")
    open_url(f"hardware:{ONE.hex()}").close()
    assert wanted.heard.count("hello_req") >= 2


def test_a_board_that_is_nowhere(desk: Desk) -> None:
    with pytest.raises(PortError, match=r"no port has a board with this hardware id \(none is plugged in\)"):
        open_url(f"hardware:{ONE.hex()}")
    desk.plug(FakeBoard(None), "ttyACM0")
    desk.plug(FakeBoard(node(2), hardware_id=TWO), "ttyACM1")
    with pytest.raises(PortError) as error:
        open_url(f"hardware:{ONE.hex()}")
    assert f"({desk.root}/dev/ttyACM0: silent, {desk.root}/dev/ttyACM1: is {TWO.hex()})" in str(error.value)


def test_two_boards_of_one_id_are_neither(desk: Desk) -> None:
    for i in range(2):
        desk.plug(FakeBoard(node(3), hardware_id=ONE), f"ttyACM{i}")
    with pytest.raises(PortError, match=r"ttyACM0 and .*ttyACM1 both have this hardware id, expected one board"):
        open_url(f"hardware:{ONE.hex()}")
    open_url(f"serial:{desk.root}/dev/ttyACM0").close()


def test_a_hardware_id_is_checked() -> None:
    with pytest.raises(LinkError, match="hardware id '12', expected 24 hexadecimal digits"):
        open_url("hardware:12")


# ---------------------------------------------------------------- had alone
def test_a_port_that_another_process_holds_is_named_and_not_touched(desk: Desk) -> None:
    board = FakeBoard(node(3))
    device = desk.plug(board)
    desk.run("minicom", 4242, holds=device)
    with pytest.raises(PortError) as error:
        open_url(f"serial:{device}")
    assert error.value.why == "busy"
    assert str(error.value).endswith(f"{device} is busy: process 4242 (minicom) has it open, expected to have it alone")
    assert board.bytes_heard == b""


HOLD = "import os, sys; fd = os.open(sys.argv[1], os.O_RDWR | os.O_NOCTTY); print('open', flush=True); sys.stdin.read()"


def test_a_real_process_that_locks_nothing_is_found(tmp_path: Path) -> None:
    """The kernel's own /proc: a program that opened the port before us, without any lock."""
    board = FakeBoard(node(3))
    command = [sys.executable, "-c", HOLD, board.path]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdin is not None
        holder.stdout.readline()
        program = Path(f"/proc/{holder.pid}/comm").read_text().strip()
        assert System().holders(board.path) == [Holder(holder.pid, program)]
        with pytest.raises(PortError, match=rf"is busy: process {holder.pid} \({program}\) has it open"):
            open_free_port(board.path, 115_200, "node3")
        holder.stdin.close()
    port = open_port(board.path, 115_200, "node3")
    port.close()
    board.close()


def test_an_open_port_is_locked_and_exclusive_until_it_is_closed() -> None:
    board = FakeBoard(node(3))
    link = open_url(f"serial:{board.path}")
    with pytest.raises(PortError, match="is busy: another program has it open"):
        open_port(board.path, 115_200, "node3")
    exclusive = bytearray(4)
    with open(board.path, "rb", buffering=0) if os.geteuid() == 0 else open(link.fileno(), "rb", closefd=False) as tty:
        fcntl.ioctl(tty, 0x80045440, exclusive)  # TIOCGEXCL
    assert int.from_bytes(exclusive, sys.byteorder) == 1
    keep = os.open(board.path, os.O_RDWR | os.O_NOCTTY) if os.geteuid() == 0 else None
    link.close()
    if keep is not None:  # exclusive use ends with the line, even when the port is open elsewhere
        fcntl.ioctl(keep, 0x80045440, exclusive)
        assert int.from_bytes(exclusive, sys.byteorder) == 0
        os.close(keep)
    board.close()


@pytest.mark.parametrize(
    ("error", "why", "says"),
    [
        (FileNotFoundError(2, "No such file"), "absent", "is not there, expected a plugged-in board"),
        (PermissionError(13, "Permission denied"), "permission", "expected to be in its group"),
        (OSError(16, "Device or resource busy"), "busy", "is busy: another program has it open"),
        (BlockingIOError(11, "Resource temporarily unavailable"), "busy", "is busy: another program"),
        (termios.error(25, "Inappropriate ioctl for device"), "other", "cannot open .*Inappropriate ioctl"),
    ],
)
def test_each_reason_has_its_own_message(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: Exception, why: str, says: str
) -> None:
    def refuse(self: serial.Serial) -> None:
        raise error

    monkeypatch.setattr(serial.Serial, "open", refuse)
    path = tmp_path / "port"
    path.write_text("")
    with pytest.raises(PortError, match=says) as raised:
        open_port(str(path), 115_200, "node3")
    assert raised.value.why == why
    assert str(raised.value).startswith("node3: ")
