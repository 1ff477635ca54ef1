"""Tables of docs/beyond.md, from the studies in studies/beyond."""
