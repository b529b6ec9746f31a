"""What both the tests and the essential cases need; `pytester` runs inner suites."""

pytest_plugins = ["pytester"]
