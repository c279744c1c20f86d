"""What a board prints when it starts, and the ways to its prompt."""

from typing import Any

# The quotes of a REPL's echo are not matched by these.
STARTING = r"bitrelay: starting in 2 s; Ctrl-C gives the REPL\r?\n"


def test_a_reset_starts_the_relay(relay: dict[str, Any], dut: Any) -> None:
    dut.serial.hard_reset()
    dut.expect(STARTING, timeout=10)


def test_ctrl_c_in_the_boot_window_gives_the_prompt_and_ctrl_d_the_relay(relay: dict[str, Any], dut: Any) -> None:
    dut.serial.hard_reset()
    dut.expect(STARTING, timeout=10)
    dut.write(b"\x03")
    dut.expect_exact(">>> ", timeout=5)
    dut.write(b"print(6 * 7)\r")
    dut.expect(r"\n42\r?\n", timeout=5)
    dut.write(b"\x04")
    dut.expect("MPY: soft reboot", timeout=5)
    dut.expect(STARTING, timeout=10)


def test_ctrl_c_twice_stops_a_relay_that_runs(relay: dict[str, Any], dut: Any) -> None:
    dut.serial.hard_reset()
    dut.expect(STARTING, timeout=10)
    # Its first frame says that the boot window is over.
    dut.expect(rb"\x00", timeout=15)
    dut.write(b"\r\x03\x03")
    dut.expect_exact(">>> ", timeout=10)
    dut.serial.hard_reset()
