-- oldest: 1
-- Signed heads of the audit's chains, each naming the one before; what they say is in doc.
CREATE TABLE audit_checkpoints (
    number INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    doc TEXT NOT NULL,
    signature TEXT NOT NULL
);
