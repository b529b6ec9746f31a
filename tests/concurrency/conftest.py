"""The torture tree is data: it runs inside the pytest runs that the tests here start."""

collect_ignore = ["torture"]
