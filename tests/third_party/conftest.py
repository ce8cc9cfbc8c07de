"""Says at the end of a run which third-party functions give more than what is recorded."""

from third_party.better import BETTER


def pytest_terminal_summary(terminalreporter, config):
    better = config.stash.get(BETTER, [])
    if better:
        terminalreporter.write_line("better than recorded (python tools/third_party.py --record):")
        for line in better:
            terminalreporter.write_line(f"  {line}")
