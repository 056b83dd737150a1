"""The operator's command, `keyturn`; see docs/cli.md."""
