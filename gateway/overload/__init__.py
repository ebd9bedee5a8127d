"""What keeps running calls well while somebody, by fault or by intent, sends too much.

Sans-I/O but for `pulse`, which measures the event loop: all else takes `now` and keeps bounded tables.
"""
