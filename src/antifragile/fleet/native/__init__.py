"""The compiled CPU kernel and the loader that picks its best version for this processor."""
