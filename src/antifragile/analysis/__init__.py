"""Statistics of studies: frames in, frames and frozen records out."""
