"""Edit templates that ship with the package; users add their own files beside them."""
