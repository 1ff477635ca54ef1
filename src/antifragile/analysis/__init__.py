"""Stage 10: frames in, frames out. The public names are imported when first used."""
