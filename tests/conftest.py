"""What all tests share."""

import signal

# A shell that starts a command in the background makes it ignore Ctrl-C, and so do all the processes that the tests
# start; the tests of Ctrl-C need it as a terminal would have it.
signal.signal(signal.SIGINT, signal.default_int_handler)
