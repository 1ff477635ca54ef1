"""Stage 12: tables, figures and one self-contained page, from any study or CSV.

The public names are imported when first used.
"""
