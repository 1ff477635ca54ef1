"""Stage 7: one SQL schema (SQLite embedded, PostgreSQL shared); frozen records in and out."""
