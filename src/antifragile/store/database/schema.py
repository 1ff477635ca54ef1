"""The tables, the same for SQLite and PostgreSQL.

``antifragile_store`` marks a database as one of this program and holds the version of its schema.
Every meta-loop row names the environment that computed it. A row with a ``checksum`` is checked
whenever it is read; a trial also holds the sum of the checksums of its records and of its
robustness (see `checksums`), so that a lost row is noticed like a changed one.

Version 2 added the checksums, the counts of a trial's records, and the owners.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

SCHEMA_VERSION = 2
MARKER_TABLE = "antifragile_store"
FIRST_TRIAL_COLUMNS = (
    *("trial_id", "study_id", "architecture", "mode", "trial", "meta_loops", "peak_correct"),
    *("peak_meta_loop", "final_correct", "test_correct", "finished_at"),
)
"""Columns of a trial in a store of version 1."""

FIRST_TABLES = ("studies", "trials", "meta_loops", "environments")
"""Without one of these a store is damaged; the others may be of a later program."""

metadata = MetaData()

marker = Table(
    MARKER_TABLE,
    metadata,
    Column("schema_version", Integer, primary_key=True),
)

environments = Table(
    "environments",
    metadata,
    Column("environment_id", String(16), primary_key=True),
    Column("kernel", String(40), nullable=False),
    Column("device", String(20), nullable=False),
    Column("threads", Integer, nullable=False),
    Column("precision", String(20), nullable=False),
    Column("machine", Text, nullable=False),
    Column("torch_version", String(60), nullable=False),
)

studies = Table(
    "studies",
    metadata,
    Column("study_id", Integer, primary_key=True),
    Column("name", String(200), nullable=False, unique=True),
    Column("spec", Text, nullable=False),
    Column("data_sha256", String(64), nullable=False),
    Column("n_train", Integer, nullable=False),
    Column("n_validation", Integer, nullable=False),
    Column("n_test", Integer, nullable=False),
    Column("zero_r_validation", Integer, nullable=False),
    Column("zero_r_test", Integer, nullable=False),
    Column("created_at", String(40), nullable=False),
    Column("checksum", BigInteger),
)

trials = Table(
    "trials",
    metadata,
    Column("trial_id", Integer, primary_key=True),
    Column("study_id", ForeignKey("studies.study_id"), nullable=False, index=True),
    Column("architecture", Text, nullable=False),
    Column("mode", String(100), nullable=False),
    Column("trial", Integer, nullable=False),
    Column("meta_loops", Integer),
    Column("peak_correct", Integer),
    Column("peak_meta_loop", Integer),
    Column("final_correct", Integer),
    Column("test_correct", Integer),
    Column("finished_at", String(40)),
    Column("n_records", Integer),
    Column("last_record", Integer, comment="the largest meta_loop"),
    Column("best_correct", Integer, comment="the largest validation_correct"),
    Column("environment_ids", Text, comment="of its records, sorted, by commas"),
    Column("records_checksum", BigInteger),
    Column("robustness_checksum", BigInteger),
    Column("checksum", BigInteger),
    UniqueConstraint("study_id", "architecture", "mode", "trial"),
)

robustness = Table(
    "robustness",
    metadata,
    Column("trial_id", ForeignKey("trials.trial_id"), primary_key=True),
    Column("damage", String(40), primary_key=True),
    Column("level", Float, primary_key=True),
    Column("draw", Integer, primary_key=True),
    Column("test_correct", Integer, nullable=False),
)

meta_loops = Table(
    "meta_loops",
    metadata,
    Column("trial_id", ForeignKey("trials.trial_id"), primary_key=True),
    Column("meta_loop", Integer, primary_key=True),
    Column("validation_correct", Integer, nullable=False),
    Column("bounty", Integer, nullable=False),
    Column("promoted", Boolean, nullable=False),
    Column("ablated_layer", Integer),
    Column("ablated_neuron", Integer),
    Column("train_loss", Float, comment="nats; null when it was not finite"),
    Column("seconds", Float, nullable=False),
    Column("ablated_correct", Integer, comment="null where it was not asked for"),
    Column("environment_id", ForeignKey("environments.environment_id"), nullable=False),
)

ablation_studies = Table(
    "ablation_studies",
    metadata,
    Column("name", String(200), primary_key=True),
    Column("manifest", Text, nullable=False),
    Column("created_at", String(40), nullable=False),
    Column("checksum", BigInteger),
)

ablation_runs = Table(
    "ablation_runs",
    metadata,
    Column("run_key", String(64), primary_key=True, comment="of all that decides the numbers"),
    Column("arm", Text, nullable=False, comment="for people; the key does not hold it"),
    Column("protocol", String(20), nullable=False),
    Column("seed", Integer, nullable=False),
    Column("metrics", Text, comment="JSON object; null when it failed"),
    Column("failure", Text, comment="why, in words; null when it finished"),
    Column("seconds", Float, nullable=False),
    Column("finished_at", String(40), nullable=False),
    Column("environment_id", ForeignKey("environments.environment_id"), nullable=False),
    Column("checksum", BigInteger),
)

owners = Table(
    "owners",
    metadata,
    Column("kind", String(20), primary_key=True, comment="study or ablation"),
    Column("name", String(200), primary_key=True),
    Column("token", String(32), nullable=False),
    Column("host", Text, nullable=False),
    Column("boot_id", String(80), nullable=False, comment="of the machine's start"),
    Column("namespace", String(80), nullable=False, comment="in which the process id counts"),
    Column("process_id", Integer, nullable=False),
    Column("process_start", String(80), nullable=False),
    Column("since", String(40), nullable=False),
    Column("heartbeat", Float, nullable=False, comment="seconds since 1970, by the store's clock"),
)
