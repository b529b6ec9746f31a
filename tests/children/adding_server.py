"""An MCP server on stdio with one tool, from the real SDK."""

import os

from mcp.server import MCPServer

server = MCPServer("adding")


@server.tool()
def add(a: int, b: int) -> str:
    """Add two numbers."""
    return f"{a} + {b} = {a + b} ({os.environ.get('UNIT', 'no unit')})"


server.run()
