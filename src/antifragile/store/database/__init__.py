"""The database beneath a store: its tables, its connections, its statements, its versions."""
