"""The fake RingMe server, apart from its clock, its faults and its plugin."""
