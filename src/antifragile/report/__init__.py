"""Tables, figures and one self-contained page: drawn from any study or CSV, nothing computed."""
