"""An MCP server that does not start."""

import sys

sys.exit("the database is not there")
