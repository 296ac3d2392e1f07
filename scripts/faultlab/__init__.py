"""Faults made on purpose, against real processes under real load."""
