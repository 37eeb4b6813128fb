"""The demo: an agent plays household games without and with its world model, live and verified."""
