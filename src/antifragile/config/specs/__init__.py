"""Specs of trials and studies: what to run, complete and valid."""
