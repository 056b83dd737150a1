"""Rotations by the hundred thousand on a simulated clock: who is cut off, and for how long?

Machine users with consumers of many kinds, last-used data as coarse and late as AWS's, and on them
Keyturn's own decision functions beside the rules of other rotators.
"""
