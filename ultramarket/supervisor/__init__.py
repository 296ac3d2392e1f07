"""The parent of replicas: it starts the processes of one machine, watches them, and starts them anew.

It stays small: nothing in here imports the actors, the web layer or a driver.
"""
