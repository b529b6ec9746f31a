"""`pytest-llmcall …`: the command line tool."""


def main() -> int:
    """Run the command line tool and return its exit code."""
    return 0
