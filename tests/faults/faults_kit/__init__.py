"""What the tests of real faults are made of.

`machine` makes the network and its faults, `process` starts nodes in it, `actor` is what runs in
those processes; `checker` judges numbered traffic, `figures` sums up. The other modules hold the
roles that actors play, one for each kind of test.
"""
