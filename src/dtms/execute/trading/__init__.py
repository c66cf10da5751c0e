"""What a person, a program or a plan asks of the main API: executions, changes, ownership, leases and the account."""
