"""What is claimed about speed, memory and fidelity, as commands that print ratios to the obvious alternative."""
