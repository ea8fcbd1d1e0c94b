"""The built-in tools: one module or package per command, each an entry point like any other."""
