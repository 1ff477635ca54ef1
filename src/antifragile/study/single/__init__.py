"""One trial outside any study, and the story of it that lies beside its weights."""
