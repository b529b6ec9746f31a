"""An MCP server on stdio with one tool, from the real SDK."""

import os
import sys

from mcp.server import MCPServer

server = MCPServer("adding")


@server.tool()
def add(a: int, b: int) -> str:
    """Add two numbers."""
    return f"{a} + {b} = {a + b} ({os.environ.get('UNIT', 'no unit')})"


if "--refuse" in sys.argv:
    sys.exit("the database is not there")
server.run()
