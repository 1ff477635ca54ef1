"""Statistical tests, effect sizes and corrections for many tests."""
