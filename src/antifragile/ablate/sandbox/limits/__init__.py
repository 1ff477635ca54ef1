"""Limits that the kernel sets to a job: its processes, files, network, memory; Linux in most."""
