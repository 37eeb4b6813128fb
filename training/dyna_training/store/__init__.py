"""The experience store: recorded episodes as columns, told apart, counted, divided and handed to other programs.

Commands of the group ``dyna data`` are made of these modules; each has one subject.
"""
