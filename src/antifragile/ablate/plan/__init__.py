"""Edits planned for each component and kind of ablation, or the reason for refusing one."""
