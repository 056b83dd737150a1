"""The demo: two rotations on the embedded AWS, and a person who watches (`make demo`).

`scene` sets the stage (AWS, stack, users, consumer processes), `watch` looks at everything and
says what changed, `view` shows it, `verdict` compares the end with what was promised.
"""
