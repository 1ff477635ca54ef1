"""Source text in, source text out: the files of a project, their syntax, edits, merged edits."""
