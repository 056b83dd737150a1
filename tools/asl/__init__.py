"""The state machines' definitions: makes them from their sources, lints them and draws them.

cfn-lint checks a definition only when it is written inside the template, so files behind a
``DefinitionUri`` are checked here: `python -m tools.asl lint`.
"""
