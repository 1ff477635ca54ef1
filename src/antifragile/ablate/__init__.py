"""Ablation by source code: discover components, write one readable variant each, certify it.

The way through: `discovery` (source joined with one traced execution) -> `plan` -> `generation`
(one folder per variant, the user's own files edited by a span) -> `certify` (each variant proved in
a process of its own). What happens after certified variants lie on disk is in `study`.
"""
