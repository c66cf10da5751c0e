"""What should be done about it: pure functions from memory and snapshot to rows, actions and refusals."""
