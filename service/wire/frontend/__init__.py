"""Serves inference methods from a completion queue of their own, on the port of the grpc.aio server.

    core ── completion queue ──► frontend thread ── one wake-up per burst ──► event loop ── reply ──► core

grpc.aio takes two tasks, several futures and a wake-up of the event loop for each request. Here a thread accepts calls and
reads messages; the event loop gets all that have arrived since its last turn at once, and answers them without a task.
"""
