"""Sending webhooks: signatures, the schedule, and a sender that cannot be turned against us."""
