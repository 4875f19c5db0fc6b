"""Where outputs go: ClickHouse, files, the console."""
